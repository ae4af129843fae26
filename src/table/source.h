/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text files that people write tables in.
 *
 * Lines that begin with blanks continue the line before; empty lines and lines whose first
 * other character is # are skipped, also between a line and its continuation. What is wrong
 * with a line is added to `why` as "FILE, line N: text" lines, and the line is skipped.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

struct source {
	struct str file; /* for messages */
	struct str rest;
	unsigned next_line;
	unsigned line;   /* where the present logical line begins */
	struct buf text; /* the present logical line */
};

/* `bytes` and `file` must stay. */
void source_init(struct source *s, struct str file, struct str bytes);
void source_done(struct source *s);
/* The next logical line, joined; valid until the next call. It may begin with blanks if the file does. */
bool source_next(struct source *s, struct str *ret_line);

/* "key value" lines of postmap(1). Double quotes keep blanks in a key, and stay. The strings lie in the arena. */
bool source_next_entry(struct source *s, struct arena *a, struct str *ret_key, struct str *ret_value, struct buf *why);
/* "name: value" lines of aliases(5). The name is unquoted and in lower case unless it needs its quotes. */
bool source_next_alias(struct source *s, struct arena *a, struct str *ret_key, struct str *ret_value, struct buf *why);
