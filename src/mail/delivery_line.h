/* SPDX-License-Identifier: Apache-2.0 */
/* The log line about one recipient, the same for all deliverers: "QID: to=<...>, relay=..., delay=... status=sent (...)". */
#pragma once

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"

struct delivery_line {
	struct str queue_id;
	struct str address;         /* internal form */
	struct str original;        /* shown as orig_to= when it differs; may be empty */
	struct str relay;           /* "mx.example.org[192.0.2.1]:25", "local", "none" */
	unsigned conn_use;          /* which message on this connection; shown from 2 on */
	struct wall_time arrival;   /* the four moments of delays=a/b/c/d: */
	struct wall_time active;    /* the queue manager took the message up */
	struct wall_time started;   /* the deliverer began; 0 when none did */
	struct wall_time connected; /* the remote side was ready; 0 when it never was */
	struct wall_time ended;
	int digits;        /* $delay_logging_resolution_limit, 0 to 6 */
	struct str tls;    /* of tls=, or empty */
	struct str dsn;    /* "2.0.0" */
	struct str status; /* "sent", "deferred", "bounced" ... */
	struct str text;
};

/* Appends the line. Bytes that would break it become question marks. */
void delivery_line_format(struct buf *to, const struct delivery_line *l);
/* Seconds with two significant digits and at most `digits` decimals: 0.04, 1.2, 12, 345. */
void delay_format(struct buf *to, int64_t us, int digits);
