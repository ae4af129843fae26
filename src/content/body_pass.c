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
	size_t at;      /* in the body */
	size_t copied;  /* of the body, already in `out` */
	struct buf out; /* the new body from the first change on */
};

/* A changed body is built anew behind the old one's beginning. */
static void change_body(struct draft *d, struct str body, size_t copied, struct buf *out)
{
	size_t tail = body.len - copied, at = d->end - body.len;

	if (out->len + tail > body.len + (d->size - d->end)) {
		size_t more = out->len + tail - body.len;

		if (buf_check(out) || appender_reserve(d->appender, more, clock_now())) {
			draft_fail(d, 451, DSN(4, 3, 0), "Error: queue file write error");
			return;
		}
		d->size += more;
		d->base = mem_resize(d->base, d->size);
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

static void one_line(struct walk *w)
{
	const struct content *c = w->d->content;
	struct str line = line_at(w->body, w->at), text = without_end(line);
	struct mime *m = w->d->mime;
	enum mime_place place = mime_line(m, text);
	struct maps *maps = c->body_checks;
	const char *what = "body";

	if (place != MIME_BODY && header_name_len(text) > 0) {
		maps = take_header(w, place, &line);
		text = without_end(line);
		what = "header";
	} else if (place != MIME_BODY) {
		mime_end_of_headers(m);
	} else if (m->segment_size > (size_t)c->view->params->body_checks_size_limit) {
		maps = NULL;
	}
	if (what[0] == 'b')
		text = str_cut(text, 0, BODY_LINE_MAX);
	if (text.len > 0 && maps && !maps_is_empty(maps))
		check_one(w, maps, what, line, text);
	w->at += line.len;
}

void check_body(struct draft *d)
{
	struct walk w = {.d = d, .out = BUF_INIT(ADDED_MAX)};

	if (!d->mime)
		return;
	w.body = str_n(d->base + d->body_at, d->end - d->body_at);
	/* The empty line before the body belongs to neither side. */
	w.at = str_starts(w.body, STR("\r\n")) ? 2 : 0;
	while (w.at < w.body.len && !d->failure.code && !d->is_discarded && !d->is_unchecked)
		one_line(&w);
	if ((w.out.len > 0 || w.copied > 0) && !d->failure.code)
		change_body(d, w.body, w.copied, &w.out);
	buf_done(&w.out);
}
