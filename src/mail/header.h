/* SPDX-License-Identifier: Apache-2.0 */
/* The header section of a message, one logical header (with its continuation lines) at a time. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

struct header {
	struct str name;  /* before the colon, without blanks at its end */
	struct str value; /* behind the colon: folds and all, without the last line end */
	struct str whole; /* everything, the last line end included */
};

/*
 * Takes the next header off *rest; lines end in LF or CRLF. False at the empty line that
 * ends the section (left in *rest), at a line that is no header, and at the end.
 */
bool header_next(struct str *rest, struct header *ret_header);
/* "Name:" at the start of a line: the length of the name, or 0 if this is no header. */
size_t header_name_len(struct str line);
/* The value on one line: each fold becomes its blanks alone, without blanks at either end. */
void header_unfold(struct buf *to, struct str value);
/* The first header of that name; false if there is none. */
bool header_find(struct str section, struct str name, struct header *ret_header);
