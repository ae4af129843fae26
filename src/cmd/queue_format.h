/* SPDX-License-Identifier: Apache-2.0 */
/* The listing of mailq and of `postqueue -j`, written line by line as the queue manager sends it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "ipc/message.h"

struct queue_format {
	bool is_json;
	struct buf *to;
	uint64_t messages;
	uint64_t bytes;
	bool has_open; /* a message whose recipients still come */
	bool has_recipient;
	struct buf reason; /* the last one shown: recipients with the same follow it */
};

void queue_format_init(struct queue_format *f, bool is_json, struct buf *to);
void queue_format_item(struct queue_format *f, const struct message_queue_item *item);
void queue_format_recipient(struct queue_format *f, const struct message_queue_recipient *r);
/* The last message, and the line with the totals. */
void queue_format_end(struct queue_format *f);
void queue_format_done(struct queue_format *f);
