/* SPDX-License-Identifier: Apache-2.0 */
/* The message as sendmail reads it: where it ends, whom its header names, what it lacks. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "mail/envelope.h"

enum line_ends {
	LINE_ENDS_MENDED, /* CRLF becomes LF everywhere */
	LINE_ENDS_STRICT, /* only when the first line ends in CRLF */
	LINE_ENDS_KEPT,
};

struct sendmail_input {
	FILE *file;
	bool keeps_dots;   /* a lone dot is text, not the end */
	size_t size_limit; /* 0 for none */
	enum line_ends line_ends;
};

/* Reads to the end, or to a lone dot; leaves out a "From " line of a mailbox at the top. -EMSGSIZE, -EIO. */
[[nodiscard]] int sendmail_read(const struct sendmail_input *in, struct buf *to);
/* The header section, without the empty line. */
struct str sendmail_header(struct str content);
/* The content, with a From line on top when its header has none. */
void sendmail_add_from(struct buf *to, struct str content, struct str sender, struct str full_name);

struct sendmail_recipients {
	struct arena *arena;
	uint8_t notify;
	struct recipient *recipients;
	size_t count;
	size_t size;
};

/* The address or addresses of one argument. -EINVAL when there is none in it. */
[[nodiscard]] int sendmail_add_argument(struct sendmail_recipients *r, struct str argument);
/* Those of To, Cc and Bcc; when there are Resent- headers, of those alone. */
void sendmail_add_from_header(struct sendmail_recipients *r, struct str header);
