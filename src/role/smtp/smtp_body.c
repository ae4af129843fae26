/* SPDX-License-Identifier: Apache-2.0 */
/* From the spool to the wire: dots doubled (RFC 5321, 4.5.2), lines within limits. */
#include "role/smtp/smtp_body.h"

#include <errno.h>
#include <unistd.h>

#include "role/smtp/downgrade.h"

/*
 * One buffer serves all fibers: between reading a chunk into it and the last write from
 * it nobody waits, because so much has been flushed before that even a chunk of nothing
 * but dots fits into what the stream gathers. Lines that are broken every other byte would not.
 */
enum { CHUNK_SIZE = 16 * 1024, GATHERED_MAX = 24 * 1024, LINE_LIMIT_MIN = 12 };

static char chunk[CHUNK_SIZE];

static struct body_state begin(size_t line_limit)
{
	return (struct body_state){.line_limit = line_limit ? size_max(line_limit, LINE_LIMIT_MIN) : 0};
}

/* A stretch without line end. */
static int write_part(struct stream *s, struct body_state *state, struct str part)
{
	int err = 0;

	if (!state->column && part.len && part.ptr[0] == '.')
		err = stream_write(s, STR("."));
	while (!err && state->line_limit && state->column + part.len > state->line_limit) {
		size_t room = state->line_limit - size_min(state->column, state->line_limit);

		err = stream_write(s, str_cut(part, 0, room));
		part = str_from(part, room);
		if (!err)
			err = stream_write(s, STR("\r\n "));
		state->column = 1;
	}
	state->column += part.len;
	return err ? err : stream_write(s, part);
}

/* Bytes at the start of `text` that may go out as they are: whole lines without dot at their start and within the limit. */
static size_t plain_lines(struct str text, size_t limit)
{
	size_t at = 0;

	while (at < text.len && text.ptr[at] != '.') {
		const char *lf = memchr(text.ptr + at, '\n', text.len - at);
		size_t next = lf ? (size_t)(lf - text.ptr) + 1 : text.len;

		/* The limit does not count CRLF. */
		if (!lf || (limit && next - at > limit + 2))
			break;
		at = next;
	}
	return at;
}

static int end_line(struct stream *s, struct body_state *state)
{
	state->column = 0;
	return stream_write(s, STR("\r\n"));
}

/* What the CR that ended the last piece was: half of a line end, or just a CR. */
static int settle_cr(struct stream *s, struct body_state *state, struct str *text)
{
	if (!state->has_cr || !text->len)
		return 0;
	state->has_cr = false;
	if (text->ptr[0] != '\n')
		return write_part(s, state, STR("\r"));
	*text = str_from(*text, 1);
	return end_line(s, state);
}

int body_write(struct stream *s, struct body_state *state, struct str text)
{
	int err = settle_cr(s, state, &text);

	if (text.len && text.ptr[text.len - 1] == '\r') {
		state->has_cr = true;
		text.len--;
	}
	while (!err && text.len) {
		size_t plain = state->column ? 0 : plain_lines(text, state->line_limit);
		size_t end = str_find(text, '\n');

		if (plain) {
			err = stream_write(s, str_cut(text, 0, plain));
			text = str_from(text, plain);
			continue;
		}
		/* The CR of CRLF is no part of the line. */
		size_t line = end < text.len && end && text.ptr[end - 1] == '\r' ? end - 1 : end;

		err = write_part(s, state, str_cut(text, 0, line));
		if (!err && end < text.len)
			err = end_line(s, state);
		text = str_from(text, end + 1);
	}
	return err;
}

int body_send(struct stream *s, int fd, uint64_t at, uint64_t size, size_t line_limit)
{
	struct body_state state = begin(line_limit);
	int err = 0;

	while (!err && size) {
		size_t want = size < CHUNK_SIZE ? (size_t)size : CHUNK_SIZE;
		ssize_t n;

		if (stream_gathered(s) > GATHERED_MAX && (err = stream_flush(s)))
			break;
		n = pread(fd, chunk, want, (off_t)at);
		if (n <= 0)
			return -EIO;
		at += (uint64_t)n;
		size -= (uint64_t)n;
		err = body_write(s, &state, str_n(chunk, (size_t)n));
	}
	if (!err && (state.column || state.has_cr))
		err = end_line(s, &state);
	return err;
}

int body_send_downgraded(struct stream *s, int fd, uint64_t at, uint64_t size, size_t line_limit)
{
	struct body_state state = begin(line_limit);
	struct downgrade *d = downgrade_new();
	struct buf out = BUF_INIT(DOWNGRADE_OUT_MAX);
	int err = 0;

	while (!err && size) {
		size_t want = size < CHUNK_SIZE ? (size_t)size : CHUNK_SIZE;
		ssize_t n = pread(fd, chunk, want, (off_t)at);

		err = n <= 0 ? -EIO : 0;
		if (err)
			break;
		at += (uint64_t)n;
		size -= (uint64_t)n;
		downgrade_write(d, str_n(chunk, (size_t)n), &out);
		if (!size)
			downgrade_end(d, &out);
		err = buf_check(&out) ? -EIO : body_write(s, &state, buf_str(&out));
		buf_reset(&out);
	}
	if (!err && (state.column || state.has_cr))
		err = end_line(s, &state);
	downgrade_free(d);
	buf_done(&out);
	return err;
}
