/* SPDX-License-Identifier: Apache-2.0 */
/* Growing buffers, and the cursor that reads back what they hold. */
#include "base/buf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_init(struct buf *b, size_t max)
{
	*b = BUF_INIT(max);
}

void buf_done(struct buf *b)
{
	free(b->ptr);
	*b = BUF_INIT(b->max);
}

void buf_reset(struct buf *b)
{
	buf_cut(b, 0);
	b->is_truncated = false;
}

void buf_cut(struct buf *b, size_t len)
{
	b->len = size_min(len, b->len);
	if (b->ptr)
		b->ptr[b->len] = '\0';
}

void buf_shift(struct buf *b, size_t count)
{
	count = size_min(count, b->len);
	if (count == 0)
		return;
	memmove(b->ptr, b->ptr + count, b->len - count);
	buf_cut(b, b->len - count);
}

char *buf_room(struct buf *b, size_t len)
{
	size_t needed;

	if (len > b->max - b->len) {
		b->is_truncated = true;
		return NULL;
	}
	needed = b->len + len + 1;
	if (needed > b->size) {
		size_t size = size_max(needed, size_max(64, b->size + b->size / 2));

		if (size > b->max + 1)
			size = size_max(needed, b->max + 1);
		b->ptr = mem_resize(b->ptr, size);
		b->size = size;
		b->ptr[b->len] = '\0';
	}
	return b->ptr + b->len;
}

void buf_added(struct buf *b, size_t len)
{
	b->len += len;
	b->ptr[b->len] = '\0';
}

void buf_add_bytes(struct buf *b, const void *ptr, size_t len)
{
	char *room;

	if (len == 0)
		return;
	room = buf_room(b, len);
	if (!room)
		return;
	memcpy(room, ptr, len);
	buf_added(b, len);
}

void buf_add(struct buf *b, struct str s)
{
	buf_add_bytes(b, s.ptr, s.len);
}

void buf_add_char(struct buf *b, char c)
{
	buf_add_bytes(b, &c, 1);
}

void buf_vaddf(struct buf *b, const char *fmt, va_list args)
{
	enum { LIKELY_MAX = 120 };
	va_list again;
	char *room;
	int len;

	/* Most texts are short and fit at once, where formatting only to measure would cost as much again. */
	if (b->size - b->len <= LIKELY_MAX && b->max - b->len > LIKELY_MAX && !buf_room(b, LIKELY_MAX))
		return;
	va_copy(again, args);
	len = vsnprintf(b->ptr ? b->ptr + b->len : NULL, b->size - b->len, fmt, again);
	va_end(again);
	if (len < 0)
		die("bad format: %s", fmt);
	if ((size_t)len < b->size - b->len) {
		buf_added(b, (size_t)len);
		return;
	}
	if (b->ptr && b->len < b->size)
		b->ptr[b->len] = '\0';
	room = buf_room(b, (size_t)len);
	if (!room)
		return;
	vsnprintf(room, (size_t)len + 1, fmt, args);
	buf_added(b, (size_t)len);
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	buf_vaddf(b, fmt, args);
	va_end(args);
}

static void add_little_endian(struct buf *b, uint64_t value, size_t size)
{
	unsigned char bytes[8];

	for (size_t i = 0; i < size; i++)
		bytes[i] = (unsigned char)(value >> (8 * i));
	buf_add_bytes(b, bytes, size);
}

void buf_add_u8(struct buf *b, uint8_t value)
{
	add_little_endian(b, value, 1);
}

void buf_add_u16(struct buf *b, uint16_t value)
{
	add_little_endian(b, value, 2);
}

void buf_add_u32(struct buf *b, uint32_t value)
{
	add_little_endian(b, value, 4);
}

void buf_add_u64(struct buf *b, uint64_t value)
{
	add_little_endian(b, value, 8);
}

void buf_add_lstr(struct buf *b, struct str s)
{
	if (s.len > UINT32_MAX) {
		b->is_truncated = true;
		return;
	}
	buf_add_u32(b, (uint32_t)s.len);
	buf_add(b, s);
}

int buf_check(const struct buf *b)
{
	return b->is_truncated ? -EMSGSIZE : 0;
}

struct str buf_str(const struct buf *b)
{
	return str_n(b->ptr, b->len);
}

const char *buf_cstr(struct buf *b)
{
	return b->ptr ? b->ptr : "";
}

char *buf_take(struct buf *b)
{
	char *bytes = b->ptr ? b->ptr : mem_strdup("");

	b->ptr = NULL;
	buf_done(b);
	return bytes;
}

struct str cursor_bytes(struct cursor *c, size_t len)
{
	struct str bytes;

	if (c->is_bad || len > c->rest.len) {
		c->is_bad = true;
		return (struct str){0};
	}
	bytes = str_n(c->rest.ptr, len);
	c->rest = str_n(c->rest.ptr + len, c->rest.len - len);
	return bytes;
}

static uint64_t read_little_endian(struct cursor *c, size_t size)
{
	struct str bytes = cursor_bytes(c, size);
	uint64_t value = 0;

	for (size_t i = 0; i < bytes.len; i++)
		value |= (uint64_t)(unsigned char)bytes.ptr[i] << (8 * i);
	return value;
}

uint8_t cursor_u8(struct cursor *c)
{
	return (uint8_t)read_little_endian(c, 1);
}

uint16_t cursor_u16(struct cursor *c)
{
	return (uint16_t)read_little_endian(c, 2);
}

uint32_t cursor_u32(struct cursor *c)
{
	return (uint32_t)read_little_endian(c, 4);
}

uint64_t cursor_u64(struct cursor *c)
{
	return read_little_endian(c, 8);
}

struct str cursor_lstr(struct cursor *c)
{
	return cursor_bytes(c, cursor_u32(c));
}
