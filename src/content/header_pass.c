/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header section of a message, in one walk: checked, counted, rewritten and
 * completed. Our own headers stand in front of the client's from the beginning; headers
 * are not copied until one has changed, so the usual message stays as it came.
 */
#include <errno.h>

#include "config/config.h"
#include "config/params.h"
#include "content/content_internal.h"
#include "mail/address.h"
#include "mail/header.h"
#include "mail/mail_date.h"
#include "policy/policy.h"

enum { ADDED_MAX = 64 << 20 };

static const struct {
	struct str name;
	enum header_kind kind;
} known_headers[] = {
	{{"Bcc", 3}, HEADER_BCC},
	{{"Cc", 2}, HEADER_CC},
	{{"Date", 4}, HEADER_DATE},
	{{"From", 4}, HEADER_FROM},
	{{"Message-ID", 10}, HEADER_MESSAGE_ID},
	{{"Received", 8}, HEADER_RECEIVED},
	{{"Reply-To", 8}, HEADER_REPLY_TO},
	{{"Resent-Date", 11}, HEADER_RESENT_DATE},
	{{"Resent-From", 11}, HEADER_RESENT_FROM},
	{{"Resent-Message-ID", 17}, HEADER_RESENT_MESSAGE_ID},
	{{"Resent-To", 9}, HEADER_RESENT_RECIPIENTS},
	{{"Resent-Cc", 9}, HEADER_RESENT_RECIPIENTS},
	{{"Resent-Bcc", 10}, HEADER_RESENT_RECIPIENTS},
	{{"Resent-Sender", 13}, HEADER_RESENT_SENDER},
	{{"Resent-Reply-To", 15}, HEADER_RESENT_RECIPIENTS},
	{{"Sender", 6}, HEADER_SENDER},
	{{"To", 2}, HEADER_TO},
	{{"Errors-To", 9}, HEADER_OTHER_SENDER},
	{{"Return-Receipt-To", 17}, HEADER_OTHER_SENDER},
	{{"Disposition-Notification-To", 27}, HEADER_OTHER_SENDER},
	{{"Apparently-To", 13}, HEADER_OTHER_RECIPIENT},
	{{"TLS-Required", 12}, HEADER_TLS_REQUIRED},
	{{"Require-TLS-ESMTP", 17}, HEADER_REQUIRE_TLS_ESMTP},
};

static enum header_kind kind_of(struct str name)
{
	for (size_t i = 0; i < COUNT_OF(known_headers); i++)
		if (known_headers[i].name.len == name.len && str_eq_nocase(known_headers[i].name, name))
			return known_headers[i].kind;
	return HEADER_OTHER;
}

/* The use of the addresses in a header, or 0 if it holds none. */
static enum address_side use_of(enum header_kind kind)
{
	switch (kind) {
	case HEADER_FROM:
	case HEADER_REPLY_TO:
	case HEADER_SENDER:
	case HEADER_RESENT_FROM:
	case HEADER_RESENT_SENDER:
	case HEADER_OTHER_SENDER:
		return SIDE_HEADER_SENDER;
	case HEADER_TO:
	case HEADER_CC:
	case HEADER_BCC:
	case HEADER_RESENT_RECIPIENTS:
	case HEADER_OTHER_RECIPIENT:
		return SIDE_HEADER_RECIPIENT;
	default:
		return 0;
	}
}

struct pass {
	struct draft *d;
	struct str section; /* the original headers */
	size_t copied;      /* of them, already in `out` */
	struct buf out;     /* the new headers from the first change on */
	bool has[HEADER_KIND_COUNT];
	int64_t hops;
};

/* Original bytes up to `at` go out as they are. */
static void copy_to(struct pass *p, size_t at)
{
	buf_add(&p->out, str_cut(p->section, p->copied, at - p->copied));
	p->copied = at;
}

/* The bytes [from, to) of the original become `text`. */
static void replace(struct pass *p, size_t from, size_t to, struct str text)
{
	copy_to(p, from);
	buf_add(&p->out, text);
	p->copied = to;
}

static bool is_dropped(const struct content *c, struct str name)
{
	for (size_t i = 0; i < c->drop_count; i++)
		if (c->drop_headers[i].len == name.len && str_eq_nocase(c->drop_headers[i], name))
			return true;
	return false;
}

static void note_message_id(struct pass *p, const char *word, struct str value)
{
	struct envelope *e = p->d->facts.envelope;
	char usual[256];
	struct buf b;

	buf_init_on(&b, usual, sizeof(usual), 998);
	header_unfold(&b, value);
	draft_note(p->d, LOG_LEVEL_INFO, "%s: %smessage-id=%.*s", e->queue_id, word, STR_ARG(buf_str(&b)));
	if (word[0] == '\0')
		e->message_id = arena_str(p->d->facts.arena, buf_str(&b));
	buf_done(&b);
}

/* Text that an access table or a header check asked for, as a header of its own. */
static void add_line(struct buf *to, struct str text)
{
	buf_add(to, text);
	buf_add(to, STR("\r\n"));
}

/* What REPLACE gave is a header like others, but is not checked again. */
static void put_replacement(struct pass *p, const struct header *h, size_t at, struct str text)
{
	size_t name_len = header_name_len(text), colon = str_find(text, ':');
	enum header_kind kind = kind_of(str_cut(text, 0, name_len));
	struct str value = str_from(text, colon + 1);
	struct buf rewritten = BUF_INIT(ADDED_MAX);

	p->has[kind] = true;
	if (use_of(kind) && p->d->facts.is_rewritten && rewrite_header(p->d, value, use_of(kind), &rewritten))
		value = buf_str(&rewritten);
	replace(p, at, at + h->whole.len, str_cut(text, 0, colon + 1));
	add_line(&p->out, value);
	buf_done(&rewritten);
}

/* Runs header_checks; false when the header is settled (dropped, replaced or the message lost). */
static bool check_header(struct pass *p, const struct header *h, size_t at)
{
	struct draft *d = p->d;
	struct check_result r;
	struct maps *maps;
	struct str whole;

	maps = mime_is_own_header(h->name) ? d->content->mime_header_checks : d->content->header_checks;
	if (d->is_unchecked || maps_is_empty(maps))
		return true;
	whole = str_n(h->whole.ptr, (size_t)(h->value.ptr + h->value.len - h->whole.ptr));
	r = check_line(d, maps, "header", whole);
	if (r.prepend.len > 0) {
		copy_to(p, at);
		add_line(&p->out, r.prepend);
	}
	switch (r.outcome) {
	case CHECK_PASS:
		d->is_unchecked = true;
		return true;
	case CHECK_KEEP:
		return true;
	case CHECK_DROP:
		replace(p, at, at + h->whole.len, STR(""));
		return false;
	case CHECK_REPLACE:
		put_replacement(p, h, at, r.replace);
		return false;
	case CHECK_STOP:
		return false;
	}
	return true;
}

static void count_hop(struct pass *p)
{
	struct draft *d = p->d;

	if (++p->hops != d->content->view->params->hopcount_limit)
		return;
	draft_note(d, LOG_LEVEL_INFO, "%s: message rejected: hopcount exceeded", d->facts.envelope->queue_id);
	draft_fail(d, 554, DSN(5, 4, 0), "Error: too many hops");
}

/* RFC 8689, 5; and Postfix's way to carry REQUIRETLS through programs that know headers alone. */
static void take_tls_wish(struct pass *p, enum header_kind kind, struct str value)
{
	const struct params *params = p->d->content->view->params;
	struct envelope *e = p->d->facts.envelope;

	value = str_trim(value);
	if (kind == HEADER_TLS_REQUIRED && params->tls_required_enable && str_eq_nocase(value, STR("no")))
		e->flags |= ENVELOPE_TLS_OPTIONAL;
	if (kind == HEADER_REQUIRE_TLS_ESMTP && params->requiretls_enable && params->requiretls_esmtp_header && e->sender.len &&
	    str_eq_nocase(value, STR("yes")))
		e->flags |= ENVELOPE_REQUIRETLS;
}

static void add_tls_wish(struct pass *p)
{
	const struct params *params = p->d->content->view->params;

	if (!(p->d->facts.envelope->flags & ENVELOPE_REQUIRETLS) || !params->requiretls_esmtp_header ||
	    p->has[HEADER_REQUIRE_TLS_ESMTP])
		return;
	copy_to(p, p->section.len);
	buf_add(&p->out, STR("Require-TLS-ESMTP: yes\r\n"));
}

/* Where one that is too long is cut: behind its colon, and not behind a line end, where the next one would end all headers. */
static size_t cut_at(struct str section, size_t limit_at, size_t value_at)
{
	size_t at = size_max(limit_at, value_at);

	while (at > value_at && ascii_is_space(section.ptr[at - 1]))
		at--;
	return at;
}

static void one_header(struct pass *p, const struct header *h)
{
	const struct content *c = p->d->content;
	size_t at = (size_t)(h->whole.ptr - p->section.ptr), limit = (size_t)c->view->params->header_size_limit;
	size_t value_at = (size_t)(h->value.ptr - p->section.ptr);
	enum header_kind kind = kind_of(h->name);
	enum address_side use = use_of(kind);

	if (!check_header(p, h, at))
		return;
	p->has[kind] = true;
	if (p->d->mime)
		mime_header(p->d->mime, h->name, h->value);
	if (kind == HEADER_RECEIVED)
		count_hop(p);
	else if (kind == HEADER_MESSAGE_ID)
		note_message_id(p, "", h->value);
	else if (kind == HEADER_RESENT_MESSAGE_ID)
		note_message_id(p, "resent-", h->value);
	else if (kind == HEADER_TLS_REQUIRED || kind == HEADER_REQUIRE_TLS_ESMTP)
		take_tls_wish(p, kind, h->value);
	if (is_dropped(c, h->name)) {
		replace(p, at, at + h->whole.len, STR(""));
		return;
	}
	/* "Name :" loses its blank, so that nobody reads the header otherwise than we did. */
	if (value_at > at + h->name.len + 1)
		replace(p, at + h->name.len, value_at - 1, STR(""));
	if (h->whole.len > limit) {
		replace(p, cut_at(p->section, at + limit, value_at), at + h->whole.len, STR("\r\n"));
	} else if (use && p->d->facts.is_rewritten) {
		struct buf value = BUF_INIT(ADDED_MAX);

		if (rewrite_header(p->d, h->value, use, &value))
			replace(p, value_at, value_at + h->value.len, buf_str(&value));
		buf_done(&value);
	}
}

size_t mailbox_line_len(struct str text)
{
	size_t marks = 0;

	while (marks < text.len && text.ptr[marks] == '>')
		marks++;
	return str_starts_nocase(str_from(text, marks), STR("From ")) ? size_min(str_find(text, '\n') + 1, text.len) : 0;
}

/* It goes on as a header, or goes away in mail from inside. */
static void take_mailbox_lines(struct pass *p, struct str *rest)
{
	size_t len;

	while ((len = mailbox_line_len(*rest)) > 0) {
		size_t at = (size_t)(rest->ptr - p->section.ptr);

		copy_to(p, at);
		if (p->d->facts.is_submitted)
			p->copied = at + len;
		else
			buf_add(&p->out, STR("X-Mailbox-Line: "));
		*rest = str_from(*rest, len);
	}
}

/* What a local client may leave to us: Resent-*, Message-Id, Date, From. */
static void add_missing(struct pass *p)
{
	struct draft *d = p->d;
	struct envelope *e = d->facts.envelope;
	const struct params *params = d->content->view->params;
	bool is_resent = p->has[HEADER_RESENT_FROM] || p->has[HEADER_RESENT_RECIPIENTS] || p->has[HEADER_RESENT_DATE] ||
	                 p->has[HEADER_RESENT_MESSAGE_ID] || p->has[HEADER_RESENT_SENDER];
	bool has_all = p->has[is_resent ? HEADER_RESENT_MESSAGE_ID : HEADER_MESSAGE_ID] &&
	               p->has[is_resent ? HEADER_RESENT_DATE : HEADER_DATE] &&
	               p->has[is_resent ? HEADER_RESENT_FROM : HEADER_FROM];
	bool has_recipient = p->has[HEADER_TO] || p->has[HEADER_CC] || p->has[HEADER_RESENT_RECIPIENTS];
	const char *prefix = is_resent ? "Resent-" : "";

	if (has_all && (has_recipient || params->undisclosed_recipients_header.len == 0))
		return;
	copy_to(p, p->section.len);
	if (!p->has[is_resent ? HEADER_RESENT_MESSAGE_ID : HEADER_MESSAGE_ID]) {
		struct buf id = BUF_INIT(998);

		buf_add_char(&id, '<');
		mail_date_digits(&id, e->arrival);
		buf_addf(&id, ".%s@%.*s>", e->queue_id, STR_ARG(params->myhostname));
		buf_addf(&p->out, "%sMessage-Id: %.*s\r\n", prefix, STR_ARG(buf_str(&id)));
		note_message_id(p, is_resent ? "resent-" : "", buf_str(&id));
		buf_done(&id);
	}
	if (!p->has[is_resent ? HEADER_RESENT_DATE : HEADER_DATE]) {
		buf_addf(&p->out, "%sDate: ", prefix);
		mail_date_format(&p->out, e->arrival);
		buf_add(&p->out, STR("\r\n"));
	}
	if (!p->has[is_resent ? HEADER_RESENT_FROM : HEADER_FROM]) {
		struct str sender = e->sender.len > 0 ? e->sender : STR("MAILER-DAEMON");

		buf_addf(&p->out, "%sFrom: ", prefix);
		address_format(&p->out, sender);
		buf_add(&p->out, STR("\r\n"));
	}
	if (params->undisclosed_recipients_header.len > 0 && !has_recipient)
		add_line(&p->out, params->undisclosed_recipients_header);
}

void header_front(struct draft *d)
{
	const struct draft_facts *f = &d->facts;
	char usual[512];
	struct buf front;
	struct received r;

	buf_init_on(&front, usual, sizeof(usual), ADDED_MAX);
	for (size_t i = 0; f->action && i < f->action->prepend_count; i++)
		add_line(&front, f->action->prepends[i]);
	if (f->received) {
		r = *f->received;
		r.queue_id = str_of(f->envelope->queue_id);
		r.when = f->envelope->arrival;
		received_format(&front, &r);
	}
	draft_add(d, buf_str(&front));
	d->front_size = front.len;
	buf_done(&front);
}

/* Changed headers go before the body, which stays where it is if there is room. */
static void put_headers(struct pass *p)
{
	struct draft *d = p->d;
	struct str headers;

	if (p->out.len == 0 && p->copied == 0)
		return;
	copy_to(p, p->section.len);
	headers = buf_str(&p->out);
	d->start += p->section.len;
	draft_make_headroom(d, headers.len);
	if (d->failure.code)
		return;
	d->start -= headers.len;
	memcpy(d->base + d->start, headers.ptr ? headers.ptr : "", headers.len);
}

void header_pass(struct draft *d)
{
	struct pass p = {.d = d, .out = BUF_INIT(ADDED_MAX)};
	struct str all = str_n(d->base + d->start, d->end - d->start);
	struct str front = str_cut(all, 0, d->front_size), rest = str_from(all, d->front_size);
	const struct params *params = d->content->view->params;
	struct header h;

	d->is_header_done = true;
	p.section = all;
	/* A From header that we add names the sender as he will be known. */
	(void)rewrite_address(d, d->facts.envelope->sender, SIDE_ENVELOPE_SENDER, &d->facts.envelope->sender);
	while (!d->failure.code && !d->is_discarded && header_next(&front, &h))
		one_header(&p, &h);
	take_mailbox_lines(&p, &rest);
	while (!d->failure.code && !d->is_discarded && header_next(&rest, &h))
		one_header(&p, &h);
	p.section = str_cut(all, 0, all.len - rest.len);
	d->body_at = d->start + p.section.len;
	if (d->mime)
		mime_end_of_headers(d->mime);
	if (!d->failure.code && !d->is_discarded) {
		if (d->facts.is_rewritten || params->always_add_missing_headers)
			add_missing(&p);
		else if (!p.has[HEADER_MESSAGE_ID])
			draft_note(d, LOG_LEVEL_INFO, "%s: message-id=<>", d->facts.envelope->queue_id);
		add_tls_wish(&p);
		/* A body that begins without an empty line gets one, or its first line would be read as a header later. */
		if (rest.len > 0 && !str_starts(rest, STR("\r\n")))
			replace(&p, p.section.len, p.section.len, STR("\r\n"));
		if (buf_check(&p.out))
			draft_fail(d, 552, DSN(5, 3, 4), "Error: message file too big");
		else
			put_headers(&p);
	}
	buf_done(&p.out);
}
