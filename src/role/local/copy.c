/* SPDX-License-Identifier: Apache-2.0 */
/* Content from the spool to a descriptor, CRLF to other line ends on the way. */
#include <errno.h>
#include <unistd.h>

#include "role/local/work.h"

enum { CHUNK = 64 << 10 };

/* What was read and not yet written; `out` has room for a whole chunk quoted line by line. */
struct copier {
	int to;
	const struct copy_form *form;
	struct buf out;
	bool has_cr;   /* the chunk before ended in CR */
	char start[5]; /* the beginning of a line that may become "From " */
	size_t start_len;
	bool is_at_start; /* of a line that may still become "From " */
	bool is_in_line;
};

const struct copy_form copy_plain = {.line_end = {"\n", 1}};

static int write_all(int fd, struct str s)
{
	while (s.len > 0) {
		ssize_t put = write(fd, s.ptr, s.len);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? -errno : -EIO;
		s = str_from(s, (size_t)put);
	}
	return 0;
}

static int flush(struct copier *k)
{
	int err = write_all(k->to, buf_str(&k->out));

	buf_reset(&k->out);
	return err;
}

static int put(struct copier *k, struct str s)
{
	if (k->out.len + s.len > CHUNK + 1024) {
		int err = flush(k);

		if (err)
			return err;
	}
	buf_add(&k->out, s);
	return 0;
}

/* Part of a line. A possible "From " at its start is held back until it is decided. */
static int put_text(struct copier *k, struct str s)
{
	static const char from[5] = "From ";
	int err = 0;

	if (s.len == 0)
		return 0;
	if (!k->is_in_line && k->form->flags & COPY_DOUBLE_DOTS && s.ptr[0] == '.')
		err = put(k, STR("."));
	k->is_in_line = true;
	if (err || !(k->form->flags & COPY_QUOTE_FROM))
		return err ? err : put(k, s);
	while (k->is_at_start && s.len > 0) {
		if (s.ptr[0] == from[k->start_len]) {
			k->start[k->start_len++] = s.ptr[0];
			s = str_from(s, 1);
			if (k->start_len < sizeof(from))
				continue;
			err = put(k, STR(">"));
		}
		k->is_at_start = false;
		if (!err)
			err = put(k, str_n(k->start, k->start_len));
		k->start_len = 0;
		if (err)
			return err;
	}
	return put(k, s);
}

static int end_line(struct copier *k)
{
	int err = put(k, str_n(k->start, k->start_len));

	k->start_len = 0;
	k->is_at_start = true;
	k->is_in_line = false;
	return err ? err : put(k, k->form->line_end);
}

static int copy_chunk(struct copier *k, struct str chunk)
{
	int err = 0;

	if (k->has_cr && chunk.len > 0 && chunk.ptr[0] != '\n')
		err = put_text(k, STR("\r"));
	k->has_cr = false;
	while (!err && chunk.len > 0) {
		size_t end = str_find(chunk, '\n'), len = end;

		if (end == chunk.len && chunk.ptr[end - 1] == '\r')
			k->has_cr = true;
		if (len > 0 && chunk.ptr[len - 1] == '\r')
			len--;
		err = put_text(k, str_cut(chunk, 0, len));
		if (!err && end < chunk.len)
			err = end_line(k);
		chunk = str_from(chunk, end + 1);
	}
	return err;
}

static int copy_all(struct copier *k, const struct work_content *c, char *chunk)
{
	for (uint64_t done = 0; done < c->size;) {
		size_t want = size_min(c->size - done, CHUNK);
		ssize_t got = pread(c->fd, chunk, want, (off_t)(c->at + done));
		int err;

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EIO;
		done += (uint64_t)got;
		err = copy_chunk(k, str_n(chunk, (size_t)got));
		if (err)
			return err;
	}
	return 0;
}

int copy_content(int to, struct str head, const struct work_content *c, const struct copy_form *form)
{
	struct copier k = {.to = to, .form = form, .out = BUF_INIT(2 * CHUNK), .is_at_start = true};
	char *chunk = mem_alloc(size_min(c->size, CHUNK));
	int err = put(&k, head);

	if (!err)
		err = copy_all(&k, c, chunk);
	/* A message that lacks its last line end gets one. */
	if (!err && k.is_in_line)
		err = end_line(&k);
	if (!err && form->flags & COPY_BLANK_LINE)
		err = put(&k, form->line_end);
	if (!err)
		err = flush(&k);
	buf_done(&k.out);
	free(chunk);
	return err;
}

static bool is_delivered_to(struct str line, struct str address)
{
	static const struct str name = {"Delivered-To:", 13};

	return str_starts_nocase(line, name) && str_eq_nocase(str_trim(str_from(line, name.len)), address);
}

int content_was_delivered_to(const struct work_content *c, struct str address)
{
	size_t size = c->size < CHUNK ? (size_t)c->size : CHUNK;
	char *bytes = mem_alloc(size + 1);
	struct str rest;
	ssize_t got;
	int result = 0;

	got = pread(c->fd, bytes, size, (off_t)c->at);
	if (got < 0)
		result = -errno;
	rest = str_n(bytes, got < 0 ? 0 : (size_t)got);
	while (!result && rest.len > 0) {
		size_t end = str_find(rest, '\n');
		struct str line = str_trim(str_cut(rest, 0, end));

		if (line.len == 0)
			break;
		if ((line.ptr[0] | 0x20) == 'd')
			result = is_delivered_to(line, address);
		rest = str_from(rest, end + 1);
	}
	free(bytes);
	return result;
}
