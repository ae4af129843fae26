/* SPDX-License-Identifier: Apache-2.0 */
/* Changing main.cf and master.cf: whole settings are replaced, everything else stays as it was. */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

/* What becomes of one logical line. */
struct file_change {
	bool is_removed;
	bool is_comment; /* put "#" before each of its lines */
	struct str text; /* to stand in its place, without a newline; absent to keep it */
};

/* Asked for each logical line, in order; the line as it stands by default. */
typedef struct file_change file_change_fn(void *context, struct str line);

struct file_edit {
	file_change_fn *change;
	void *context;
	const struct buf *why;  /* may be NULL; when there is text in it after all calls, nothing is written */
	bool is_after_comments; /* comments inside a changed line come before the new text, not behind */
	void (*finish)(void *context, struct buf *to); /* adds whole lines at the end */
};

/*
 * Rewrites the file through a temporary one beside it that is synced and then renamed;
 * owner and mode stay. A negative errno, with the file untouched; -ECANCELED when `why` says something.
 */
[[nodiscard]] int file_edit(struct str path, const struct file_edit *edit);
/* Only the text: from the old bytes to the new. */
void file_edit_text(struct str bytes, const struct file_edit *edit, struct buf *to);
