/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AUTH dialogues that smtpd has held here: one fiber and one sasl_exchange each. Their number has a
 * limit; when it is reached, the dialogue that has waited longest for its client gives way.
 */
#pragma once

#include "ipc/message.h"
#include "process/process.h"

struct client;

/* Makes the back ends of every service that lets clients log in, while the right to read their tables lasts. */
int dialogue_prepare(struct process *p, struct buf *why);
/* Takes AUTH_BEGIN, AUTH_STEP, AUTH_END, AUTH_OFFER_WANTED; false for anything else. */
bool dialogue_take(struct client *c, const struct message *m);
/* The client has gone: so are its dialogues. */
void dialogue_end_all(struct client *c);
