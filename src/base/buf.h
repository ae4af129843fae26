/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A buffer of bytes that grows up to a compulsory maximum.
 *
 * What does not fit is dropped whole and remembered: after any number of adds one
 * buf_check() tells whether all of them took place. The bytes are always followed
 * by a NUL that does not count, so buf_cstr() costs nothing.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "base/str.h"

struct buf {
	char *ptr;         /* NULL until the first byte */
	size_t len;        /* bytes in use */
	size_t size;       /* bytes allocated */
	size_t max;        /* most bytes it may ever hold */
	bool is_truncated; /* an add did not fit */
	bool is_lent;      /* `ptr` is not from the heap */
};

#define BUF_INIT(maximum) ((struct buf){.max = (maximum)})

void buf_init(struct buf *b, size_t max);
/*
 * As buf_init(), but begins in `size` bytes that the caller lends, usually on his stack, and moves to
 * the heap only when they are too few. They must live until buf_done().
 */
void buf_init_on(struct buf *b, char *room, size_t size, size_t max);
/* Frees the bytes; the buffer may be used again. */
void buf_done(struct buf *b);
/* Empties the buffer and forgets truncation; keeps the memory. */
void buf_reset(struct buf *b);
/* Cuts to the first `len` bytes. */
void buf_cut(struct buf *b, size_t len);
/* Removes `count` bytes at the front. */
void buf_shift(struct buf *b, size_t count);

void buf_add(struct buf *b, struct str s);
void buf_add_bytes(struct buf *b, const void *ptr, size_t len);
void buf_add_char(struct buf *b, char c);
/* What does not fit is dropped whole here, too. */
void buf_addf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_vaddf(struct buf *b, const char *fmt, va_list args) PRINTF_LIKE(2, 0);
/* Little-endian integers, for formats of our own. */
void buf_add_u8(struct buf *b, uint8_t value);
void buf_add_u16(struct buf *b, uint16_t value);
void buf_add_u32(struct buf *b, uint32_t value);
void buf_add_u64(struct buf *b, uint64_t value);
/* A u32 length and the bytes. An absent string comes back as an empty one. */
void buf_add_lstr(struct buf *b, struct str s);

/*
 * Room for at least `len` more bytes, or NULL if the maximum forbids it. The caller
 * writes there and then says how much with buf_added().
 */
[[nodiscard]] char *buf_room(struct buf *b, size_t len);
void buf_added(struct buf *b, size_t len);

/* 0, or -EMSGSIZE when some add did not fit. */
[[nodiscard]] int buf_check(const struct buf *b);
struct str buf_str(const struct buf *b);
const char *buf_cstr(struct buf *b);
/* Gives the NUL-terminated bytes away; the caller frees them and the buffer is empty. */
[[nodiscard]] char *buf_take(struct buf *b);

/* Reads what buf_add_u8 .. buf_add_lstr wrote; a short or wrong input sets is_bad and gives zeros. */
struct cursor {
	struct str rest;
	bool is_bad;
};

uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_u16(struct cursor *c);
uint32_t cursor_u32(struct cursor *c);
uint64_t cursor_u64(struct cursor *c);
/* A view into the input. */
struct str cursor_lstr(struct cursor *c);
struct str cursor_bytes(struct cursor *c, size_t len);
