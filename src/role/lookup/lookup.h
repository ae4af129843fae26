/* SPDX-License-Identifier: Apache-2.0 */
/* What the lookup role does when; see process.h. And its clients: the processes that ask. */
#pragma once

#include "process/process.h"

/* A peer. Whoever works for it on a fiber of his own holds it meanwhile. */
struct client;

struct client *client_hold(struct client *c);
void client_release(struct client *c);
/* What a peer that has gone does not hear does not matter any more. */
void client_send(struct client *c, const struct message *m);

/* Opens the password tables of every service that has some. */
int lookup_prepare(struct process *p, struct buf *why);
int lookup_start(struct process *p, struct buf *why) WAITS;
void lookup_add_peer(struct process *p, enum ipc_role role, uint32_t id, struct channel *ch);
/* Ends when the last peer has gone, or when nobody waits for an answer. */
void lookup_drain(struct process *p);
