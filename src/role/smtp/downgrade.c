/* SPDX-License-Identifier: Apache-2.0 */
/* From 8 bits to seven, a line at a time; lines that are too long for that come in pieces. */
#include "role/smtp/downgrade.h"

#include "content/mime.h"
#include "mail/header.h"

/* A soft line break ends an encoded line before it has more than 76 characters (RFC 2045, 6.7). */
enum { LINE_PIECE_MAX = 8 * 1024, HEADER_MAX = 100 * 1024, ENCODED_MAX = 75 };

enum encoding { ENCODING_SEVEN, ENCODING_EIGHT };

struct downgrade {
	struct mime mime;
	struct buf line;   /* what has come of the present line */
	struct buf header; /* the present header with its continuations */
	bool is_inside;    /* the line began in a piece before */
	bool is_header;    /* in a header section */
	enum encoding encoding;
	bool is_composite;
	bool is_quoting; /* this body is being encoded */
	size_t column;
};

struct downgrade *downgrade_new(void)
{
	struct downgrade *d = mem_alloc(sizeof(*d));

	d->mime.place = MIME_HEADER;
	d->line = BUF_INIT(LINE_PIECE_MAX + 1);
	d->header = BUF_INIT(HEADER_MAX + LINE_PIECE_MAX);
	d->is_header = true;
	return d;
}

void downgrade_free(struct downgrade *d)
{
	if (!d)
		return;
	buf_done(&d->line);
	buf_done(&d->header);
	free(d);
}

/* --- headers ----------------------------------------------------------------------------- */

static bool is_eight(struct str encoding)
{
	encoding = str_trim(encoding);
	encoding = str_cut(encoding, 0, str_find_any(encoding, " \t\r\n;("));
	return str_eq_nocase(encoding, STR("8bit")) || str_eq_nocase(encoding, STR("binary"));
}

/* The header that tells of 8 bits is held back: what takes its place is known at the end of the section. */
static void end_header(struct downgrade *d, struct buf *out)
{
	struct str text = buf_str(&d->header);
	size_t len = header_name_len(text);
	struct str name = str_trim(str_cut(text, 0, len)), value = str_from(text, str_find(text, ':') + 1);
	bool is_held = len && str_eq_nocase(name, STR("Content-Transfer-Encoding")) && is_eight(value);

	if (is_held)
		d->encoding = ENCODING_EIGHT;
	else
		buf_add(out, text);
	if (len && str_eq_nocase(name, STR("Content-Type")))
		d->is_composite = str_starts_nocase(str_trim(value), STR("multipart/")) ||
		                  str_starts_nocase(str_trim(value), STR("message/"));
	if (len)
		mime_header(&d->mime, name, value);
	buf_reset(&d->header);
}

static void end_headers(struct downgrade *d, struct buf *out)
{
	end_header(d, out);
	if (d->encoding == ENCODING_EIGHT)
		buf_addf(out, "Content-Transfer-Encoding: %s\r\n", d->is_composite ? "7bit" : "quoted-printable");
	d->is_quoting = d->encoding == ENCODING_EIGHT && !d->is_composite;
	d->column = 0;
	d->encoding = ENCODING_SEVEN;
	d->is_composite = false;
	mime_end_of_headers(&d->mime);
	d->is_header = d->mime.place != MIME_BODY;
}

/* --- bodies ------------------------------------------------------------------------------ */

static void quote(struct downgrade *d, struct str text, bool is_end, struct buf *out)
{
	static const char digits[] = "0123456789ABCDEF";

	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		bool is_blank = c == ' ' || c == '\t';
		bool is_last = is_end && i + 1 == text.len;
		bool is_plain = is_blank ? !is_last : c > ' ' && c < 127 && c != '=';
		size_t width = is_plain ? 1 : 3;

		if (d->column + width > ENCODED_MAX) {
			buf_add(out, STR("=\r\n"));
			d->column = 0;
		}
		d->column += width;
		if (is_plain)
			buf_add_char(out, (char)c);
		else
			buf_add_bytes(out, (const char[]){'=', digits[c >> 4], digits[c & 15]}, 3);
	}
	if (is_end)
		d->column = 0;
}

static void add_body(struct downgrade *d, struct str text, bool is_end, struct buf *out)
{
	if (d->is_quoting)
		quote(d, text, is_end, out);
	else
		buf_add(out, text);
	if (is_end)
		buf_add(out, STR("\r\n"));
}

static void begin_body_line(struct downgrade *d, struct str text, bool is_end, struct buf *out)
{
	size_t depth = d->mime.depth;
	enum mime_place before = d->mime.place;

	(void)mime_line(&d->mime, text);
	if (d->mime.depth != depth || d->mime.place != before) {
		d->is_quoting = false;
		d->is_header = d->mime.place != MIME_BODY;
	}
	add_body(d, text, is_end, out);
}

/* --- lines ------------------------------------------------------------------------------- */

static void begin_header_line(struct downgrade *d, struct str text, bool is_end, struct buf *out)
{
	bool is_fold = d->header.len && text.len && (text.ptr[0] == ' ' || text.ptr[0] == '\t');

	if (!text.len && is_end) {
		end_headers(d, out);
		buf_add(out, STR("\r\n"));
		return;
	}
	if (!is_fold && !header_name_len(text)) {
		end_headers(d, out);
		begin_body_line(d, text, is_end, out);
		return;
	}
	if (!is_fold)
		end_header(d, out);
	buf_add(&d->header, text);
	if (is_end)
		buf_add(&d->header, STR("\r\n"));
	/* Nobody's Content-Type is as long as that. */
	if (d->header.len > HEADER_MAX)
		end_header(d, out);
}

static void take_line(struct downgrade *d, struct str text, bool is_end, struct buf *out)
{
	bool is_inside = d->is_inside;

	d->is_inside = !is_end;
	if (is_inside && d->is_header && d->header.len) {
		buf_add(&d->header, text);
		if (is_end)
			buf_add(&d->header, STR("\r\n"));
		if (d->header.len > HEADER_MAX)
			end_header(d, out);
	} else if (is_inside) {
		add_body(d, text, is_end, out);
	} else if (d->is_header) {
		begin_header_line(d, text, is_end, out);
	} else {
		begin_body_line(d, text, is_end, out);
	}
}

static void flush_line(struct downgrade *d, bool is_end, struct buf *out)
{
	struct str text = buf_str(&d->line);

	if (is_end && text.len && text.ptr[text.len - 1] == '\r')
		text.len--;
	take_line(d, text, is_end, out);
	buf_reset(&d->line);
}

void downgrade_write(struct downgrade *d, struct str text, struct buf *out)
{
	while (text.len) {
		size_t end = str_find(text, '\n'), room = LINE_PIECE_MAX - d->line.len;
		size_t take = size_min(end, room);

		buf_add(&d->line, str_cut(text, 0, take));
		text = str_from(text, take);
		if (text.len && text.ptr[0] == '\n') {
			flush_line(d, true, out);
			text = str_from(text, 1);
		} else if (text.len && d->line.len == LINE_PIECE_MAX) {
			/* A CR that may belong to the line end stays. */
			bool has_cr = d->line.ptr[d->line.len - 1] == '\r';

			buf_cut(&d->line, d->line.len - has_cr);
			flush_line(d, false, out);
			if (has_cr)
				buf_add_char(&d->line, '\r');
		}
	}
}

void downgrade_end(struct downgrade *d, struct buf *out)
{
	if (d->line.len || d->is_inside)
		flush_line(d, true, out);
	if (d->is_header)
		end_headers(d, out);
}
