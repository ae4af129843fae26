/* SPDX-License-Identifier: Apache-2.0 */
#include "content/intake.h"

#include <string.h>

struct run {
	char *to;
	size_t len;
};

static void put(struct run *out, const char *ptr, size_t len)
{
	memcpy(out->to + out->len, ptr, len);
	out->len += len;
}

static void end_line(struct intake *in, bool is_bare)
{
	in->state = INTAKE_LINE_START;
	in->is_after_bare_lf = is_bare && !in->is_lf;
	in->has_bare_lf |= in->is_after_bare_lf;
}

static void put_stray_cr(const struct intake *in, struct run *out)
{
	out->to[out->len++] = in->keeps_cr ? '\r' : ' ';
}

/*
 * Copies from `bytes` as long as nothing but whole lines and text comes. Stops before a
 * dot that may need unstuffing. Returns how much was taken.
 */
static size_t take_lines(struct intake *in, struct str bytes, struct run *out)
{
	size_t from = 0, at = 0;

	in->state = INTAKE_IN_LINE;
	while (at < bytes.len) {
		const char *cr = memchr(bytes.ptr + at, '\r', bytes.len - at);
		size_t text = cr ? (size_t)(cr - bytes.ptr) : bytes.len;
		const char *lf = memchr(bytes.ptr + at, '\n', text - at);

		if (lf) {
			at = (size_t)(lf - bytes.ptr) + 1;
			put(out, bytes.ptr + from, at - 1 - from);
			put(out, "\r\n", 2);
			end_line(in, true);
			return at;
		}
		if (text + 1 < bytes.len && bytes.ptr[text + 1] != '\n') {
			put(out, bytes.ptr + from, text - from);
			put_stray_cr(in, out);
			from = at = text + 1;
			continue;
		}
		if (text + 1 >= bytes.len) {
			put(out, bytes.ptr + from, text - from);
			in->state = cr ? INTAKE_CR : INTAKE_IN_LINE;
			return bytes.len;
		}
		at = text + 2;
		if (at == bytes.len || (in->is_stuffed && bytes.ptr[at] == '.')) {
			put(out, bytes.ptr + from, at - from);
			end_line(in, false);
			return at;
		}
	}
	put(out, bytes.ptr + from, at - from);
	return at;
}

/* A line of one dot ended. Is it the end of DATA? If not, an empty line stays of it, so that no later host sees an end there. */
static bool is_end(struct intake *in, bool is_bare, struct run *out)
{
	if (!in->is_strict || (!is_bare && !in->is_after_bare_lf))
		return true;
	put(out, "\r\n", 2);
	end_line(in, is_bare);
	return false;
}

/* One byte behind an unfinished CR or dot. True at the end of DATA; *used says whether the byte was taken. */
static bool take_byte(struct intake *in, char c, struct run *out, bool *used)
{
	*used = c == '\n' || (c == '\r' && in->state == INTAKE_DOT);
	if (in->state == INTAKE_CR) {
		if (c == '\n') {
			put(out, "\r\n", 2);
			end_line(in, false);
		} else {
			put_stray_cr(in, out);
			in->state = INTAKE_IN_LINE;
		}
		return false;
	}
	if (c == '\n')
		return is_end(in, in->state == INTAKE_DOT, out);
	if (in->state == INTAKE_DOT && c == '\r') {
		in->state = INTAKE_DOT_CR;
		return false;
	}
	if (in->state == INTAKE_DOT_CR)
		put_stray_cr(in, out);
	in->state = INTAKE_IN_LINE;
	return false;
}

bool intake_feed(struct intake *in, struct str bytes, char *to, size_t *ret_len, size_t *ret_used)
{
	struct run out = {.to = to};
	size_t at = 0;
	bool has_ended = false;

	while (at < bytes.len && !has_ended) {
		if (in->state == INTAKE_LINE_START && in->is_stuffed && bytes.ptr[at] == '.') {
			in->state = INTAKE_DOT;
			at++;
		} else if (in->state == INTAKE_LINE_START || in->state == INTAKE_IN_LINE) {
			at += take_lines(in, str_from(bytes, at), &out);
		} else {
			bool used;

			has_ended = take_byte(in, bytes.ptr[at], &out, &used);
			at += used;
		}
	}
	*ret_len = out.len;
	*ret_used = at;
	return has_ended;
}

size_t intake_finish(struct intake *in, char *to)
{
	struct run out = {.to = to};

	if (in->state == INTAKE_CR || in->state == INTAKE_DOT_CR)
		put_stray_cr(in, &out);
	if (in->state != INTAKE_LINE_START)
		put(&out, "\r\n", 2);
	in->state = INTAKE_LINE_START;
	return out.len;
}
