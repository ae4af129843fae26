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

void buf_init_on(struct buf *b, char *room, size_t size, size_t max)
{
	room[0] = '\0';
	*b = (struct buf){.ptr = room, .size = size_min(size, max + 1), .max = max, .is_lent = true};
}

void buf_done(struct buf *b)
{
	if (!b->is_lent)
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

static void grow(struct buf *b, size_t needed)
{
	size_t size = size_max(needed, size_max(64, b->size + b->size / 2));

	if (size > b->max + 1)
		size = size_max(needed, b->max + 1);
	if (b->is_lent) {
		b->ptr = memcpy(mem_resize(NULL, size), b->ptr, b->len);
		b->is_lent = false;
	} else {
		b->ptr = mem_resize(b->ptr, size);
	}
	b->size = size;
	b->ptr[b->len] = '\0';
}

char *buf_room(struct buf *b, size_t len)
{
	if (len > b->max - b->len) {
		b->is_truncated = true;
		return NULL;
	}
	if (b->len + len + 1 > b->size)
		grow(b, b->len + len + 1);
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
	char *bytes = b->ptr && !b->is_lent ? b->ptr : str_cstr(buf_str(b));

	*b = BUF_INIT(b->max);
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
