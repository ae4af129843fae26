/* SPDX-License-Identifier: Apache-2.0 */
/* How commands talk to a running server: one conversation over a local socket of it. */
#pragma once

#include "config/config.h"
#include "ipc/channel.h"

/* The command's part of the conversation; its result is that of queue_client_run(). */
typedef int queue_talk_fn(struct channel *ch, void *arg) WAITS;

/*
 * Connects to $queue_directory/public/NAME and runs `talk`; -errno when nobody listens there. When `talk` says -EAGAIN, because
 * the server turned it away, this is tried again for half a minute. Once a process.
 */
[[nodiscard]] int queue_client_run(const struct config *c, const char *name, queue_talk_fn *talk, void *arg);
struct queue_request {
	struct str what; /* "list", "delete" ... */
	struct str argument;
	int (*item)(const struct message *m, void *arg); /* takes what comes before the end; may be NULL */
	void *arg;
	uint64_t count; /* the answer: how many messages it touched */
};

/*
 * Sends the request and waits for its end: 0, or what the server said with its words in *why; -EPIPE when it went away, -EAGAIN
 * when it did so without an answer.
 */
[[nodiscard]] int queue_client_ask(struct channel *ch, struct queue_request *r, struct buf *why) WAITS;
