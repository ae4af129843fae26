/* SPDX-License-Identifier: Apache-2.0 */
/* What the lookup role does when; see process.h. */
#pragma once

#include "process/process.h"

/* Opens the password tables of every service that has some. */
int lookup_prepare(struct process *p, struct buf *why);
void lookup_add_peer(struct process *p, enum ipc_role role, uint32_t id, struct channel *ch);
/* Ends when the last peer has gone. */
void lookup_drain(struct process *p);

/* A peer with its questions under way; freed by whoever is the last to use it. */
struct client;
/* What is sent to one that has gone is dropped. */
void client_send(struct client *c, const struct message *m);
/* Around each piece of work that answers it. */
struct client *client_hold(struct client *c);
void client_release(struct client *c);
