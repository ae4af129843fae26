/* SPDX-License-Identifier: Apache-2.0 */
/* Arenas: blocks that double in size, handed out from the front. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/buf.h"

/* The first block holds what an idle session has to remember, and comes from malloc()'s cache of a thread (up to 1,032 bytes). */
enum { FIRST_BLOCK_SIZE = 736, LARGEST_BLOCK_SIZE = 65536, ALIGNMENT = 16 };

struct arena_block {
	struct arena_block *older;
	size_t size; /* of bytes */
	size_t used;
	_Alignas(ALIGNMENT) char bytes[];
};

static struct arena_block *block_new(struct arena *a, size_t least)
{
	size_t size = a->blocks ? size_min(a->blocks->size * 2, LARGEST_BLOCK_SIZE) : FIRST_BLOCK_SIZE;
	struct arena_block *block;

	size = size_max(size, least);
	block = mem_resize(NULL, sizeof *block + size);
	block->size = size;
	block->used = 0;
	block->older = a->blocks;
	a->blocks = block;
	return block;
}

void *arena_alloc(struct arena *a, size_t size)
{
	size_t rounded = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
	struct arena_block *block = a->blocks;
	void *ptr;

	if (rounded < size)
		die("arena: %zu bytes wanted", size);
	if (!block || block->size - block->used < rounded)
		block = block_new(a, rounded);
	ptr = block->bytes + block->used;
	block->used += rounded;
	a->used += rounded;
	return memset(ptr, 0, size);
}

char *arena_cstr(struct arena *a, struct str s)
{
	char *copy = arena_alloc(a, s.len + 1);

	if (s.len)
		memcpy(copy, s.ptr, s.len);
	return copy;
}

struct str arena_str(struct arena *a, struct str s)
{
	return str_n(arena_cstr(a, s), s.len);
}

struct str arena_lower(struct arena *a, struct str s)
{
	char *copy = arena_cstr(a, s);

	for (size_t i = 0; i < s.len; i++)
		copy[i] = ascii_lower(copy[i]);
	return str_n(copy, s.len);
}

struct str arena_printf(struct arena *a, const char *fmt, ...)
{
	char likely[256];
	struct buf text;
	struct str copy;
	va_list args;

	buf_init_on(&text, likely, sizeof(likely), SIZE_MAX / 2);
	va_start(args, fmt);
	buf_vaddf(&text, fmt, args);
	va_end(args);
	copy = arena_str(a, buf_str(&text));
	buf_done(&text);
	return copy;
}

size_t arena_used(const struct arena *a)
{
	return a->used;
}

void arena_reset(struct arena *a)
{
	while (a->blocks && a->blocks->older) {
		struct arena_block *older = a->blocks->older;

		free(a->blocks);
		a->blocks = older;
	}
	if (a->blocks)
		a->blocks->used = 0;
	a->used = 0;
}

void arena_done(struct arena *a)
{
	arena_reset(a);
	free(a->blocks);
	*a = ARENA_INIT;
}
