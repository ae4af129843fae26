/* SPDX-License-Identifier: Apache-2.0 */
/* An SMTP reply as a value: what a check answers, what a server said, what a client gets. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"

/* RFC 3463: class.subject.detail; class 0 means none. */
struct dsn_code {
	uint16_t class_digit;
	uint16_t subject;
	uint16_t detail;
};

#define DSN(c, s, d) ((struct dsn_code){c, s, d})

struct reply {
	int code; /* 0 means no reply: go on */
	struct dsn_code dsn;
	struct str text; /* one line, or several parted by '\n'; without code and dsn */
	bool is_final;   /* the session ends after it (421, 521) */
};

/* "550", "5.1.1" and text from one string such as "550 5.1.1 No such user"; the dsn part may lack. -EINVAL. */
[[nodiscard]] int reply_parse(struct str line, struct reply *ret_reply);
/* As on the wire, with CRLF, "250-" lines and the enhanced code on every line; `has_dsn` false leaves it out. */
void reply_format(struct buf *to, const struct reply *r, bool has_dsn);
/* "5.1.1" at the start of *rest; moves *rest behind it and one blank. -EINVAL leaves it. */
[[nodiscard]] int dsn_code_parse(struct str *rest, struct dsn_code *ret_code);
void dsn_code_format(struct buf *to, struct dsn_code code);
