/* SPDX-License-Identifier: Apache-2.0 */
/* How commands talk to a running server: one conversation over a local socket of it. */
#pragma once

#include "config/config.h"
#include "ipc/channel.h"

/* The command's part of the conversation; its result is that of queue_client_run(). */
typedef int queue_talk_fn(struct channel *ch, void *arg) WAITS;

/* Connects to $queue_directory/public/NAME and runs `talk`; -errno when nobody listens there. Once a process. */
[[nodiscard]] int queue_client_run(const struct config *c, const char *name, queue_talk_fn *talk, void *arg);
/*
 * Sends one QUEUE_REQUEST and waits for its end; items and recipients before it go to `item`, which may be NULL.
 * 0, or what the server said with its words in *why; -EPIPE when it went away.
 */
typedef int queue_item_fn(const struct message *m, void *arg);
[[nodiscard]] int queue_client_ask(struct channel *ch, struct str what, struct str argument, queue_item_fn *item, void *arg,
                                   uint64_t *ret_count, struct buf *why) WAITS;
