/* SPDX-License-Identifier: Apache-2.0 */
/* What a server said: one reply of one or more lines, and what EHLO told about it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"
#include "mail/reply.h"

enum { SERVER_REPLY_MAX = 16 * 1024, SERVER_REPLY_LINES_MAX = 200 };

struct server_reply {
	int code; /* 200 to 599; 0 for what is no SMTP reply */
	struct dsn_code dsn;
	unsigned line_count;
	struct buf text; /* the lines as they came, parted by '\n' */
};

void server_reply_init(struct server_reply *r);
void server_reply_done(struct server_reply *r);
/* Forgets the lines. */
void server_reply_reset(struct server_reply *r);
/* One more line without its end. True when it was the last one. Anything but a reply line ends it with code 0. */
bool server_reply_add(struct server_reply *r, struct str line);
/* On one line, fit for logs. */
struct str server_reply_text(const struct server_reply *r, struct arena *a);
/* "5.1.1", made up from the code where the server gave none or one of another class. */
struct str server_reply_dsn(const struct server_reply *r, struct arena *a);

enum ehlo_keyword {
	EHLO_PIPELINING = 1,
	EHLO_8BITMIME = 2,
	EHLO_SMTPUTF8 = 4,
	EHLO_DSN = 8,
	EHLO_STARTTLS = 16,
	EHLO_SIZE = 32,
	EHLO_AUTH = 64,
	EHLO_REQUIRETLS = 128,
};

struct ehlo {
	unsigned keywords;   /* enum ehlo_keyword */
	uint64_t size_limit; /* 0: none told */
	struct str name;     /* what the server calls itself; in the reply */
	struct str auth;     /* the mechanisms; in the reply */
};

/* Reads the lines of a reply to EHLO; keywords in the list `discard` do not count. */
void ehlo_parse(const struct server_reply *r, struct str discard, struct ehlo *ret_ehlo);
