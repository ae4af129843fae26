/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Formatted text for buffers. Some fifty texts are made for each message, nearly all of strings and
 * plain numbers: these conversions are done here, several times faster than by printf, which does the others.
 */
#include <stdio.h>

#include "base/buf.h"

static void add_hex(struct buf *b, unsigned long long number)
{
	char digits[16];
	size_t at = sizeof(digits);

	do
		digits[--at] = "0123456789abcdef"[number % 16];
	while (number /= 16);
	buf_add_bytes(b, digits + at, sizeof(digits) - at);
}

static void add_number(struct buf *b, unsigned long long number, bool is_negative)
{
	char digits[24];
	size_t at = sizeof(digits);

	do
		digits[--at] = (char)('0' + number % 10);
	while (number /= 10);
	if (is_negative)
		digits[--at] = '-';
	buf_add_bytes(b, digits + at, sizeof(digits) - at);
}

static void add_signed(struct buf *b, long long number)
{
	add_number(b, number < 0 ? 0 - (unsigned long long)number : (unsigned long long)number, number < 0);
}

static void add_text(struct buf *b, const char *text, int max)
{
	if (!text)
		text = "(null)";
	buf_add_bytes(b, text, max < 0 ? strlen(text) : strnlen(text, (size_t)max));
}

/* "%.*s", "%02d", "%lld", "%llu", "%llx" and "%zu", behind the '%'. As add_one(). */
static const char *add_longer(struct buf *b, const char *fmt, va_list *args)
{
	if (!strncmp(fmt, ".*s", 3)) {
		int max = va_arg(*args, int);

		add_text(b, va_arg(*args, const char *), max);
	} else if (!strncmp(fmt, "02d", 3)) {
		int number = va_arg(*args, int);

		if (number >= 0 && number < 10)
			buf_add_char(b, '0');
		add_signed(b, number);
	} else if (!strncmp(fmt, "lld", 3)) {
		add_signed(b, va_arg(*args, long long));
	} else if (!strncmp(fmt, "llu", 3)) {
		add_number(b, va_arg(*args, unsigned long long), false);
	} else if (!strncmp(fmt, "llx", 3)) {
		add_hex(b, va_arg(*args, unsigned long long));
	} else if (!strncmp(fmt, "zu", 2)) {
		add_number(b, va_arg(*args, size_t), false);
		return fmt + 2;
	} else {
		return NULL;
	}
	return fmt + 3;
}

/* The conversion that `fmt` begins with, behind its '%'. Returns what follows it, or NULL if it is for printf. */
static const char *add_one(struct buf *b, const char *fmt, va_list *args)
{
	switch (*fmt) {
	case 's':
		add_text(b, va_arg(*args, const char *), -1);
		break;
	case 'd':
		add_signed(b, va_arg(*args, int));
		break;
	case 'u':
		add_number(b, va_arg(*args, unsigned), false);
		break;
	case 'x':
		add_hex(b, va_arg(*args, unsigned));
		break;
	case 'c':
		buf_add_char(b, (char)va_arg(*args, int));
		break;
	case '%':
		buf_add_char(b, '%');
		break;
	default:
		return add_longer(b, fmt, args);
	}
	return fmt + 1;
}

/* False when there is something in it that only printf can do; then *b may hold a part. */
static bool add_all(struct buf *b, const char *fmt, va_list *args)
{
	while (fmt && *fmt) {
		const char *percent = strchrnul(fmt, '%');

		buf_add_bytes(b, fmt, (size_t)(percent - fmt));
		fmt = *percent ? add_one(b, percent + 1, args) : percent;
	}
	return fmt;
}

static void add_by_printf(struct buf *b, const char *fmt, va_list args) PRINTF_LIKE(2, 0);
static void add_by_printf(struct buf *b, const char *fmt, va_list args)
{
	va_list again;
	char *room;
	int len;

	va_copy(again, args);
	len = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (len < 0)
		die("bad format: %s", fmt);
	room = buf_room(b, (size_t)len);
	if (!room)
		return;
	vsnprintf(room, (size_t)len + 1, fmt, args);
	buf_added(b, (size_t)len);
}

void buf_vaddf(struct buf *b, const char *fmt, va_list args)
{
	bool was_truncated = b->is_truncated;
	size_t len = b->len;
	va_list again;

	va_copy(again, args);
	b->is_truncated = false;

	bool is_done = add_all(b, fmt, &again);

	va_end(again);
	if (!is_done || b->is_truncated)
		buf_cut(b, len);
	if (!is_done) {
		b->is_truncated = false;
		add_by_printf(b, fmt, args);
	}
	b->is_truncated |= was_truncated;
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	buf_vaddf(b, fmt, args);
	va_end(args);
}
