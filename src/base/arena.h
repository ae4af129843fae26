/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An arena: many small pieces of memory that are released together. One for each
 * session and one for each transaction; what crosses fibers is copied.
 */
#pragma once

#include <stddef.h>

#include "base/base.h"
#include "base/str.h"

struct arena_block;

struct arena {
	struct arena_block *blocks; /* newest first */
	size_t used;                /* bytes handed out since the last reset */
};

/* A zeroed arena is ready for use. */
#define ARENA_INIT ((struct arena){0})

/* Zeroed memory, aligned for any type. Valid until arena_reset() or arena_done(). */
[[nodiscard]] void *arena_alloc(struct arena *a, size_t size);
/* A NUL-terminated copy. */
struct str arena_str(struct arena *a, struct str s);
char *arena_cstr(struct arena *a, struct str s);
struct str arena_lower(struct arena *a, struct str s);
struct str arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Bytes handed out since the last reset, for limits. */
size_t arena_used(const struct arena *a);
/* Releases everything but the first block. */
void arena_reset(struct arena *a);
void arena_done(struct arena *a);
