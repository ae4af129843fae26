/* SPDX-License-Identifier: Apache-2.0 */
/* The body of a message, line by line: body_checks, and the checks for headers of MIME parts and enclosed messages. */
#include "config/config.h"
#include "config/params.h"
#include "content/content_internal.h"
#include "mail/header.h"

enum { BODY_LINE_MAX = 2048, ADDED_MAX = 64 << 20 };

struct walk {
	struct draft *d;
	struct str body;
	size_t at;      /* in the body: what comes next */
	size_t copied;  /* of the body, already in `out` */
	struct buf out; /* the new body from the first change on */
	bool is_whole;  /* nothing more comes behind it */
};

/* What is changed is built anew behind the beginning of what was there. */
static void change_body(struct draft *d, struct str body, size_t copied, struct buf *out)
{
	size_t tail = body.len - copied, at = d->end - body.len, size = at + out->len + tail + 1;
	int err = buf_check(out);

	if (!err && size > d->share.size) {
		err = append_share_grow(&d->share, size, clock_now());
		if (!err)
			d->base = mem_resize(d->base, size);
	}
	if (err) {
		draft_fail(d, 451, DSN(4, 3, 0), "Error: queue file write error");
		return;
	}
	memmove(d->base + at + out->len, d->base + at + copied, tail);
	memcpy(d->base + at, out->ptr ? out->ptr : "", out->len);
	d->end = at + out->len + tail;
}

static struct str line_at(struct str body, size_t at)
{
	return str_cut(body, at, str_find(str_from(body, at), '\n') + 1);
}

static struct str without_end(struct str line)
{
	return str_ends(line, STR("\r\n")) ? str_cut(line, 0, line.len - 2) : line;
}

/* The header that starts here, its continuation lines included; tells mime what it says, and which checks are for it. */
static struct maps *take_header(struct walk *w, enum mime_place place, struct str *ret_whole)
{
	const struct content *c = w->d->content;
	struct str rest = str_from(w->body, w->at);
	struct header h;

	(void)header_next(&rest, &h);
	mime_header(w->d->mime, h.name, h.value);
	*ret_whole = h.whole;
	return place == MIME_HEADER || mime_is_own_header(h.name) ? c->mime_header_checks : c->nested_header_checks;
}

static void check_one(struct walk *w, struct maps *m, const char *what, struct str line, struct str text)
{
	struct check_result r = check_line(w->d, m, what, text);

	w->d->is_unchecked = r.outcome == CHECK_PASS;
	if (r.prepend.len == 0 && r.outcome != CHECK_DROP && r.outcome != CHECK_REPLACE)
		return;
	buf_add(&w->out, str_cut(w->body, w->copied, w->at - w->copied));
	w->copied = r.prepend.len > 0 ? w->at : w->at + line.len;
	if (r.prepend.len > 0 || r.outcome == CHECK_REPLACE)
		buf_addf(&w->out, "%.*s\r\n", STR_ARG(r.prepend.len > 0 ? r.prepend : r.replace));
}

/* The headers of a part are taken whole, continuation lines and all. */
static bool has_whole_header(struct str rest)
{
	struct header h;

	return !header_next(&rest, &h) || rest.len > 0;
}

/* The line, or a piece of it when it is long; empty when there is too little to tell. */
static struct str next_line(const struct walk *w)
{
	struct str line = line_at(w->body, w->at);

	if (!w->d->is_inside_line && w->d->mime->place != MIME_BODY && !w->is_whole &&
	    !has_whole_header(str_from(w->body, w->at)))
		return STR("");
	if (without_end(line).len > BODY_LINE_MAX)
		return str_cut(line, 0, BODY_LINE_MAX);
	return w->is_whole || str_has(line, '\n') ? line : STR("");
}

static void check_line_of_body(struct walk *w, struct str line)
{
	const struct content *c = w->d->content;
	struct str text = without_end(line);

	if (text.len > 0 && !maps_is_empty(c->body_checks) &&
	    w->d->mime->segment_size <= (size_t)c->view->params->body_checks_size_limit)
		check_one(w, c->body_checks, "body", line, text);
}

/* Takes a line, a piece of a long line or a header. False when too little is there. */
static bool one_line(struct walk *w)
{
	struct draft *d = w->d;
	struct str line = next_line(w), text = without_end(line);
	enum mime_place place = MIME_BODY;

	if (line.len == 0)
		return false;
	if (d->is_inside_line)
		mime_rest_of_line(d->mime, line.len);
	else
		place = mime_line(d->mime, text);
	if (place != MIME_BODY && header_name_len(text) > 0) {
		struct maps *maps = take_header(w, place, &line);

		if (!maps_is_empty(maps))
			check_one(w, maps, "header", line, without_end(line));
	} else {
		if (place != MIME_BODY)
			mime_end_of_headers(d->mime);
		check_line_of_body(w, line);
	}
	d->is_inside_line = !str_ends(line, STR("\n"));
	w->at += line.len;
	return true;
}

void check_body(struct draft *d, bool is_whole)
{
	struct walk w = {.d = d, .out = BUF_INIT(ADDED_MAX), .is_whole = is_whole};

	if (!d->mime)
		return;
	w.body = str_n(d->base + d->body_at, d->end - d->body_at);
	/* The empty line before the body belongs to neither side. */
	if (!d->is_body_begun && (is_whole || w.body.len >= 2)) {
		w.at = str_starts(w.body, STR("\r\n")) ? 2 : 0;
		d->is_body_begun = true;
	}
	while (d->is_body_begun && w.at < w.body.len && !d->failure.code && !d->is_discarded && !d->is_unchecked)
		if (!one_line(&w))
			break;
	d->body_at += w.at;
	if ((w.out.len > 0 || w.copied > 0) && !d->failure.code) {
		change_body(d, w.body, w.copied, &w.out);
		d->body_at = d->end - (w.body.len - w.at);
	}
	buf_done(&w.out);
}
