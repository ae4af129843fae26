/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 8-bit MIME content for servers that take seven bits only (RFC 6152, 3): bodies that say "8bit" or "binary" become
 * quoted-printable, parts that hold such parts become "7bit". What says nothing of 8 bits goes as it is.
 */
#pragma once

#include "base/buf.h"
#include "base/str.h"

enum { DOWNGRADE_PIECE_MAX = 16 * 1024, DOWNGRADE_OUT_MAX = 256 * 1024 };

struct downgrade;

[[nodiscard]] struct downgrade *downgrade_new(void);
/* NULL is fine. */
void downgrade_free(struct downgrade *d);
/* Takes the next piece of the content, at most DOWNGRADE_PIECE_MAX, and appends what is sure; `out` holds DOWNGRADE_OUT_MAX. */
void downgrade_write(struct downgrade *d, struct str text, struct buf *out);
/* Appends the rest. */
void downgrade_end(struct downgrade *d, struct buf *out);
