/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From received bytes to a spool record: what cleanup(8) does. One struct content a
 * view holds the tables; one struct draft a message collects its bytes, in memory up
 * to a limit and in a file of its own beyond it.
 *
 *	draft_new > draft_data or draft_chunk or draft_file > draft_finish > draft_commit > draft_free
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/log.h"
#include "mail/envelope.h"
#include "mail/received.h"
#include "mail/reply.h"

struct appender;
struct content;
struct draft;
struct policy_action;
struct router;
struct view;

/* Opens the tables of the view. Fails with words for the operator. */
[[nodiscard]] int content_new(const struct view *v, struct router *r, struct content **ret_content, struct buf *why);
void content_free(struct content *c);
/* Was a table replaced since it was opened? */
bool content_has_changed(const struct content *c);

/* receive_override_options as bits. */
enum content_override {
	CONTENT_NO_UNKNOWN_RECIPIENT_CHECKS = 1,
	CONTENT_NO_ADDRESS_MAPPINGS = 2,
	CONTENT_NO_HEADER_BODY_CHECKS = 4,
	CONTENT_NO_MILTERS = 8,
};
/* -EINVAL and the bad word in *ret_bad. */
[[nodiscard]] int content_parse_overrides(struct str text, unsigned *ret_bits, struct str *ret_bad);

/* A line for the log, to be written under cleanup's tag. */
struct content_note {
	enum log_level level;
	struct str text;
	struct content_note *next;
};

/* What the draft may know of its message. All of it lives at least as long as the draft. */
struct draft_facts {
	struct arena *arena;                /* of the transaction: results are put there */
	struct envelope *envelope;          /* the work goes on in it: message id, recipients, flags */
	const struct received *received;    /* all but queue id and time; NULL for none */
	const struct policy_action *action; /* NULL for none */
	struct str client;                  /* "name[address]", for logs */
	unsigned overrides;                 /* enum content_override */
	bool is_stuffed;                    /* DATA */
	bool is_strict;                     /* CRLF.CRLF only */
	bool is_rewritten;                  /* headers as of a local client: completed and rewritten */
	bool is_submitted;                  /* from a local user or made by us */
};

[[nodiscard]] struct draft *draft_new(struct content *c, struct appender *ap, const struct draft_facts *facts) WAITS;
void draft_free(struct draft *d) WAITS;

/*
 * Input. Mistakes and shortages are remembered and answered by draft_finish(), while the
 * input is read on to its end. draft_data() is true at the end of data; *ret_used says what it took.
 */
bool draft_data(struct draft *d, struct str bytes, size_t *ret_used) WAITS;
void draft_chunk(struct draft *d, struct str bytes) WAITS;
/* All of a file from its start; LF or CRLF lines. */
void draft_file(struct draft *d, int fd) WAITS;
bool draft_has_bare_lf(const struct draft *d);
/* Is it clear already that the message will not be taken? */
bool draft_has_failed(const struct draft *d);
/* Bytes of content so far, without the headers we added at the top. */
uint64_t draft_size(const struct draft *d);

/*
 * Finishes headers and envelope: rewriting, header and body checks, aliases. The reply's code is 0
 * when the message can be committed; `*ret_notes` are lines to log in any case.
 */
struct reply draft_finish(struct draft *d, struct content_note **ret_notes) WAITS;
/* A header or body check wants the message to vanish while the client hears that all is well. */
bool draft_is_discarded(const struct draft *d);
/* Appends the message to the spool; code 0 when it is on disk. `*ret_notes` are further lines. */
struct reply draft_commit(struct draft *d, struct content_note **ret_notes) WAITS;
