/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logical lines of main.cf and master.cf. A line that begins with white space continues the
 * one before it; blank lines and lines whose first letter is '#' are skipped, inside a
 * continued line too.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"
#include "config/config.h"

struct cfline {
	struct str text;           /* joined, without newlines; blanks at the joints stay */
	unsigned first;            /* number of its first physical line */
	struct line_start *starts; /* the further ones, by their place in `text` */
	size_t start_count;
	bool is_continuation; /* it begins with white space and there is nothing that it could continue */
};

struct cfline_reader {
	struct str rest;
	unsigned number; /* of the last line taken */
};

#define CFLINE_READER_INIT(bytes) ((struct cfline_reader){.rest = (bytes)})

/* The next logical line; joined ones are made in `a`. False at the end. */
bool cfline_next(struct cfline_reader *r, struct arena *a, struct cfline *ret_line);
