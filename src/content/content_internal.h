/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of content/ share. */
#pragma once

#include "base/buf.h"
#include "content/content.h"
#include "content/intake.h"
#include "content/mime.h"
#include "route/resolve.h"
#include "spool/append.h"
#include "table/table.h"

/* Header names that mean something here. */
enum header_kind {
	HEADER_OTHER,
	HEADER_BCC,
	HEADER_CC,
	HEADER_DATE,
	HEADER_FROM,
	HEADER_MESSAGE_ID,
	HEADER_RECEIVED,
	HEADER_REPLY_TO,
	HEADER_RESENT_DATE,
	HEADER_RESENT_FROM,
	HEADER_RESENT_MESSAGE_ID,
	HEADER_RESENT_RECIPIENTS,
	HEADER_RESENT_SENDER,
	HEADER_SENDER,
	HEADER_TO,
	HEADER_OTHER_SENDER,
	HEADER_OTHER_RECIPIENT,
	HEADER_TLS_REQUIRED,
	HEADER_REQUIRE_TLS_ESMTP,
	HEADER_KIND_COUNT,
};

/* The tables and lists of a view. */
struct content {
	const struct view *view;
	struct router *router;
	struct maps *header_checks, *mime_header_checks, *nested_header_checks, *body_checks;
	struct maps *sender_bcc, *recipient_bcc;
	struct str *drop_headers; /* names */
	size_t drop_count;
	struct arena arena; /* of the list */
};

struct draft {
	struct content *content;
	struct appender *appender;
	struct draft_facts facts;
	struct intake intake;
	struct append_share share; /* of the process's memory: the size of base */
	/* Content so far, or what is left of it once the rest is in the large file: base[start..end). */
	char *base;
	size_t start, end;
	size_t body_at;    /* in base, once the headers are done: what the body's checks have not seen yet */
	size_t front_size; /* headers that we put before those of the client */
	struct mime *mime; /* only where checks look at the body */
	uint64_t spilled;  /* bytes in the large file */
	struct append_large *large;
	bool has_headers; /* all of them: seen when the message became longer than they may be */
	bool is_header_done;
	bool is_body_begun;  /* the empty line before it is behind us */
	bool is_inside_line; /* body_at stands behind a piece of a long line */
	bool is_discarded;
	bool is_unchecked;     /* PASS: no more checks */
	struct reply failure;  /* code 0: none */
	size_t recipient_room; /* of the envelope's recipients, when checks have made them anew */
	struct content_note *notes, *last_note;
	unsigned mention_count; /* of lines for the log that checks asked for */
};

/* Appends what goes before the client's headers: prepended ones and Received. */
void header_front(struct draft *d);
/* The header section of `d` is whole: makes the finished headers in front of the body. */
void header_pass(struct draft *d);
/* Length of the line "From user date" at the front of `text`, as mailbox files have it before the headers; 0 if there is none. */
size_t mailbox_line_len(struct str text);
/* Envelope addresses: canonical, masquerade, bcc, aliases, duplicates. */
void expand_envelope(struct draft *d);
/* A header address in standard form, canonical and masquerade applied; `use` is one bit. -EAGAIN. */
[[nodiscard]] int rewrite_address(struct draft *d, struct str address, enum address_side use, struct str *ret_address);
/* The value of an address header with all addresses rewritten; false when it stays as it is. */
bool rewrite_header(struct draft *d, struct str value, enum address_side use, struct buf *to);

/* What a check decided about a header or a body line. */
enum check_outcome { CHECK_KEEP, CHECK_DROP, CHECK_REPLACE, CHECK_STOP, CHECK_PASS };
struct check_result {
	enum check_outcome outcome;
	struct str prepend; /* a line to go before, without line end; empty for none */
	struct str replace; /* of CHECK_REPLACE */
};
/* `what` is "header" or "body"; `text` the logical line. */
struct check_result check_line(struct draft *d, struct maps *m, const char *what, struct str text);
/*
 * All checks of the body, from body_at on, which moves up to what was seen: all of it when the body is whole, else
 * whole lines and headers only.
 */
void check_body(struct draft *d, bool is_whole);

void draft_note(struct draft *d, enum log_level level, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The first failure counts. */
void draft_fail(struct draft *d, int code, struct dsn_code dsn, const char *text);
/* A lookup failed: 451 4.3.0 and a warning. */
void draft_fail_lookup(struct draft *d, const char *what, struct str address);
/* Makes room in front: `len` bytes before `start`. */
void draft_make_headroom(struct draft *d, size_t len);
/* Appends bytes as they are. */
void draft_add(struct draft *d, struct str bytes);
