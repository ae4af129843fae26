/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Access tokens that smtp logs in with: made by smtp_sasl_token_command, kept until they are about to expire or a
 * server refuses them. One command at a time for each login name.
 */
#pragma once

#include "role/lookup/lookup.h"

/* Starts the program that runs the commands, where there are any. As root, if we are. */
[[nodiscard]] int token_keeper_prepare(struct process *p, struct buf *why);
/* Answers now or later. */
void token_keeper_ask(struct client *c, const struct message_access_token_ask *m);
void token_keeper_refused(const struct message_access_token_refused *m);
