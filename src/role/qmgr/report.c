/* SPDX-License-Identifier: Apache-2.0 */
/* Bounces, delay warnings, success reports: what is sent after a round, and to whom. RFC 3461, RFC 3464. */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "mail/dsn_report.h"
#include "role/qmgr/qmgr.h"

enum { FIBER_LIMIT = 50, INTRODUCTION_MAX = 1 << 20, CHUNK_MAX = 64 << 10 };

/* What a message needs, as bits; a postmaster copy is a report of its own. */
enum need {
	NEED_FAILURE = 1,
	NEED_FAILURE_COPY = 2,
	NEED_DELAY = 4,
	NEED_DELAY_COPY = 8,
	NEED_SUCCESS = 16,
	NEED_VERIFY = 32,
};

static const struct need_info {
	enum need need;
	enum report_kind kind;
	bool is_copy;
	const char *name; /* in the log */
} needs[] = {
	{NEED_FAILURE, REPORT_FAILURE, false, "sender non-delivery notification"},
	{NEED_FAILURE_COPY, REPORT_FAILURE, true, "postmaster non-delivery notification"},
	{NEED_DELAY, REPORT_DELAY, false, "sender delay notification"},
	{NEED_DELAY_COPY, REPORT_DELAY, true, "postmaster delay notification"},
	{NEED_SUCCESS, REPORT_SUCCESS, false, "sender delivery status notification"},
	{NEED_VERIFY, REPORT_VERIFY, false, "sender delivery status notification"},
};

static bool is_double_bounce(const struct qmgr *q, struct str sender)
{
	return str_eq_nocase(str_cut(sender, 0, str_find_last(sender, '@')), q->settings->double_bounce);
}

/* Does the sender want to hear of this (RFC 3461, 4.1)? Without NOTIFY of failures and delays only. */
static bool is_notified(const struct recipient *r, enum dsn_notify what)
{
	return r->notify ? r->notify & what : what != NOTIFY_SUCCESS;
}

/* Success is told to who asked for it, and to who was warned of a delay, if so configured. */
static bool is_success_told(const struct qmgr *q, const struct message_work *w, uint32_t at)
{
	const struct outcome *o = &w->outcomes[at];

	if (o->status != OUTCOME_SENT)
		return false;
	if (q->settings->is_delay_clear_confirmed && w->m->flags & SPOOL_WARNED)
		return is_notified(&w->m->envelope.recipients[at], NOTIFY_DELAY);
	return is_notified(&w->m->envelope.recipients[at], NOTIFY_SUCCESS) && (o->is_ours || o->action.len);
}

/* Which recipient belongs into which report? */
static bool belongs(const struct qmgr *q, const struct message_work *w, uint32_t at, const struct need_info *n)
{
	const struct recipient *r = &w->m->envelope.recipients[at];
	const struct outcome *o = &w->outcomes[at];
	bool is_bounce = str_is_empty(w->m->envelope.sender);

	switch (n->need) {
	case NEED_FAILURE:
		return o->status == OUTCOME_FAILED && (is_bounce || is_notified(r, NOTIFY_FAILURE));
	case NEED_FAILURE_COPY:
		return o->status == OUTCOME_FAILED;
	case NEED_DELAY:
		return o->status == OUTCOME_DEFERRED && is_notified(r, NOTIFY_DELAY);
	case NEED_DELAY_COPY:
		return o->status == OUTCOME_DEFERRED;
	case NEED_SUCCESS:
		return is_success_told(q, w, at);
	case NEED_VERIFY:
		return o->status != OUTCOME_PENDING && o->status != OUTCOME_EARLIER;
	}
	return false;
}

static bool has_any(const struct qmgr *q, const struct message_work *w, const struct need_info *n)
{
	for (uint32_t i = 0; i < w->m->envelope.recipient_count; i++)
		if (belongs(q, w, i, n))
			return true;
	return false;
}

/* What the sender and the configuration allow at all; the recipients then decide. */
static unsigned allowed_needs(const struct qmgr *q, const struct message_work *w)
{
	const struct settings *s = q->settings;
	const struct envelope *e = &w->m->envelope;
	bool has_sender = e->sender.len && !is_double_bounce(q, e->sender);
	unsigned allowed = 0;

	if ((e->flags & ENVELOPE_NO_BOUNCE) || is_double_bounce(q, e->sender))
		return 0;
	if (has_sender || s->notify_classes & NOTIFY_CLASS_2BOUNCE)
		allowed |= NEED_FAILURE;
	if (has_sender && s->notify_classes & NOTIFY_CLASS_BOUNCE)
		allowed |= NEED_FAILURE_COPY;
	/* The requeued message is a new one. */
	if (has_sender && !w->is_requeued && s->warning_time.ns > 0 && !(w->m->flags & SPOOL_WARNED) &&
	    clock_wall().us - e->arrival.us >= s->warning_time.ns / 1000)
		allowed |= NEED_DELAY | (s->notify_classes & NOTIFY_CLASS_DELAY ? NEED_DELAY_COPY : 0);
	if (has_sender)
		allowed |= NEED_SUCCESS;
	/* Of the first attempt, as sendmail -v asks. */
	if (has_sender && e->flags & (ENVELOPE_VERIFY_ONLY | ENVELOPE_TRACE) && !w->m->attempts)
		allowed |= NEED_VERIFY;
	return allowed;
}

static unsigned find_needs(const struct qmgr *q, const struct message_work *w)
{
	unsigned allowed = allowed_needs(q, w), found = 0;

	for (size_t i = 0; i < COUNT_OF(needs); i++)
		if (allowed & needs[i].need && has_any(q, w, &needs[i]))
			found |= needs[i].need;
	return found;
}

bool report_is_wanted(const struct qmgr *q, const struct message_work *w)
{
	/* The usual end of a message: nobody asked for anything. */
	if (w->m->envelope.recipient_count == 1 && w->outcomes[0].status == OUTCOME_SENT &&
	    !w->m->envelope.recipients[0].notify && !(w->m->envelope.flags & ENVELOPE_TRACE) && !(w->m->flags & SPOOL_WARNED))
		return false;
	return find_needs(q, w) != 0;
}

/* --- one report -------------------------------------------------------------------------- */

/* What is left out of a report that would be too long: the original's body, then most of the reasons. */
static const struct extent {
	bool has_body;
	size_t reason_max;
} extents[] = {{true, SIZE_MAX}, {false, SIZE_MAX}, {false, 100}};

struct order {
	const struct need_info *need;
	const struct extent *extent;
	struct str content;
	struct str recipient; /* of the report */
};

/* No character is cut in two. */
static struct str shorten(struct str text, size_t max)
{
	if (text.len <= max)
		return text;
	while (max && ((unsigned char)text.ptr[max] & 0xC0) == 0x80)
		max--;
	return str_cut(text, 0, max);
}

static struct str action_of(const struct outcome *o)
{
	switch (o->status) {
	case OUTCOME_FAILED:
		return STR("failed");
	case OUTCOME_DEFERRED:
		return STR("delayed");
	case OUTCOME_DELIVERABLE:
		return STR("deliverable");
	case OUTCOME_UNDELIVERABLE:
		return STR("undeliverable");
	default:
		return o->action.len ? o->action : o->is_ours ? STR("delivered") : STR("relayed");
	}
}

static size_t collect(const struct qmgr *q, const struct message_work *w, const struct order *order, struct report_recipient *to)
{
	size_t count = 0;

	for (uint32_t i = 0; i < w->m->envelope.recipient_count; i++) {
		const struct recipient *r = &w->m->envelope.recipients[i];
		const struct outcome *o = &w->outcomes[i];

		if (!belongs(q, w, i, order->need))
			continue;
		to[count++] = (struct report_recipient){
			.address = r->address,
			.original = r->original,
			.orcpt = r->orcpt,
			.action = action_of(o),
			.dsn = o->reason.dsn,
			.text = shorten(o->reason.text, order->extent->reason_max),
			.mta = o->reason.mta,
			.diagnostic = shorten(o->reason.diagnostic, order->extent->reason_max),
		};
	}
	return count;
}

/* An address of the configuration; a bare name is at our own origin. */
static struct str own_address(const struct qmgr *q, struct str address, struct arena *a)
{
	return str_has(address, '@') ? arena_str(a, address)
	                             : arena_printf(a, "%.*s@%.*s", STR_ARG(address), STR_ARG(q->settings->origin));
}

struct addressing {
	struct str sender;
	struct str recipient;
};

/* Reports go to the sender from the null sender; notices to the postmaster come from the double-bounce address. */
static struct addressing address_report(const struct qmgr *q, const struct message_work *w, const struct need_info *n)
{
	const struct settings *s = q->settings;
	struct arena *a = &w->m->arena;
	struct str sender = w->m->envelope.sender;
	struct str notice = n->need == NEED_DELAY_COPY ? s->delay_notice : s->bounce_notice;

	if (!n->is_copy && sender.len)
		return (struct addressing){.recipient = sender};
	if (!n->is_copy)
		notice = s->double_bounce_notice;
	return (struct addressing){
		.sender = arena_printf(a, "%.*s@%.*s", STR_ARG(s->double_bounce), STR_ARG(s->hostname)),
		.recipient = own_address(q, notice, a),
	};
}

/* RFC 8689, 4.3.1: what must not travel without TLS does not do so in its bounce either. */
static bool is_redacted(const struct qmgr *q, const struct envelope *e)
{
	return e->flags & ENVELOPE_REQUIRETLS && q->settings->redacts_requiretls;
}

static bool is_returned_whole(const struct qmgr *q, const struct envelope *e, struct str content)
{
	return e->ret != RET_HDRS && e->content_size <= q->settings->bounce_size_limit && content.len >= e->content_size &&
	       !is_redacted(q, e);
}

/* Returns whether the report holds bytes above 127. */
static bool write_report(const struct qmgr *q, const struct message_work *w, const struct order *order, struct buf *to)
{
	const struct need_info *n = order->need;
	const struct settings *s = q->settings;
	const struct envelope *e = &w->m->envelope;
	const struct bounce_template *template = &s->templates.of[n->kind];
	bool is_8bit, is_copy = n->is_copy || str_is_empty(e->sender);
	struct buf introduction = BUF_INIT(INTRODUCTION_MAX), why = BUF_INIT(1000);
	struct report_recipient *recipients = mem_alloc(e->recipient_count * sizeof *recipients);
	struct report r = {
		.kind = n->kind,
		.is_postmaster_copy = is_copy,
		.is_utf8 = e->flags & ENVELOPE_SMTPUTF8,
		.is_threaded = s->is_threaded,
		.from = template->from,
		.subject = is_copy ? template->postmaster_subject : template->subject,
		.charset = template->charset,
		.hostname = s->hostname,
		.origin = s->origin,
		.mail_name = s->mail_name,
		.to = order->recipient,
		.queue_id = str_of(e->queue_id),
		.sender = e->sender,
		.envid = e->envid,
		.message_id = e->message_id,
		.arrival = e->arrival,
		.now = clock_wall(),
		.retry_until = {e->arrival.us + s->backoff.lifetime.ns / 1000},
		.recipients = recipients,
		.content = order->content,
		.is_header_only = !order->extent->has_body || !is_returned_whole(q, e, order->content),
	};

	if (bounce_template_expand(template, s->view, &introduction, &why))
		log_tagged(str_of(s->bounce_tag), LOG_LEVEL_WARN, "%s", buf_cstr(&why));
	r.text = buf_str(&introduction);
	r.recipient_count = collect(q, w, order, recipients);
	report_format(to, &r);
	is_8bit = report_is_8bit(&r);
	free(recipients);
	buf_done(&introduction);
	buf_done(&why);
	return is_8bit;
}

static int send_report(struct qmgr *q, struct message_work *w, const struct need_info *n, struct str content)
{
	struct addressing who = address_report(q, w, n);
	uint32_t kept = ENVELOPE_SMTPUTF8 | (is_redacted(q, &w->m->envelope) ? 0 : ENVELOPE_REQUIRETLS);
	struct recipient rcpt = {.address = who.recipient, .notify = NOTIFY_NEVER};
	struct envelope e = {
		.arrival = clock_wall(),
		.sender = who.sender,
		.recipients = &rcpt,
		.recipient_count = 1,
		.flags = ENVELOPE_INTERNAL | (w->m->envelope.flags & kept),
	};
	struct buf text = BUF_INIT(q->settings->report_size_max), why = BUF_INIT(2000);
	char id[QUEUE_ID_SIZE];
	int err = -EMSGSIZE;

	for (size_t i = 0; i < COUNT_OF(extents) && err == -EMSGSIZE; i++) {
		buf_reset(&text);
		buf_reset(&why);
		if (write_report(q, w, &(struct order){n, &extents[i], content, who.recipient}, &text))
			e.flags |= ENVELOPE_8BITMIME;
		e.content_size = text.len;
		err = buf_check(&text);
		if (err)
			buf_addf(&why, "it is too long");
		else
			err = submit_message(q, &e, buf_str(&text), id, &why);
	}
	if (err)
		log_tagged(str_of(q->settings->bounce_tag), LOG_LEVEL_WARN, "%s: %s failed: %s", w->m->envelope.queue_id, n->name,
		           buf_cstr(&why));
	else
		log_tagged(str_of(q->settings->bounce_tag), LOG_LEVEL_INFO, "%s: %s: %s", w->m->envelope.queue_id, n->name, id);
	buf_done(&text);
	buf_done(&why);
	return err;
}

/* The bounce could not be written down: the recipients stay in the queue, and so does the bounce. */
static void keep_failures(struct message_work *w)
{
	for (uint32_t i = 0; i < w->m->envelope.recipient_count; i++)
		if (w->outcomes[i].status == OUTCOME_FAILED)
			w->outcomes[i].status = OUTCOME_DEFERRED;
}

static void send_all(struct qmgr *q, struct message_work *w)
{
	const struct settings *s = q->settings;
	unsigned wanted = find_needs(q, w);
	bool is_whole = w->m->envelope.content_size <= s->bounce_size_limit;
	size_t most = size_min(is_whole ? s->bounce_size_limit : s->header_size_limit, s->report_size_max);
	struct buf content = BUF_INIT(most + CHUNK_MAX);
	int err = wanted ? content_load(q, w->m, most, &content) : 0;

	if (err)
		log_warn("%s: the content cannot be read for a report: %s", w->m->envelope.queue_id, strerror(-err));
	for (size_t i = 0; i < COUNT_OF(needs); i++) {
		if (!(wanted & needs[i].need))
			continue;
		err = send_report(q, w, &needs[i], buf_str(&content));
		/* What is refused for good would be refused again. */
		if (needs[i].need == NEED_FAILURE && (err == -EAGAIN || err == -ECANCELED))
			keep_failures(w);
		if (needs[i].need == NEED_DELAY && !err)
			w->m->flags |= SPOOL_WARNED;
	}
	buf_done(&content);
}

/* --- postsuper -r: the message is taken in again as a new one ------------------------------------ */

static void requeue(struct qmgr *q, struct message_work *w)
{
	struct envelope e = w->m->envelope;
	struct buf content = BUF_INIT(e.content_size + 65536), why = BUF_INIT(2000);
	struct recipient *left = arena_alloc(&w->m->arena, e.recipient_count * sizeof *left);
	char id[QUEUE_ID_SIZE];
	int err;

	e.recipients = left;
	e.recipient_count = 0;
	for (uint32_t i = 0; i < w->m->envelope.recipient_count; i++)
		if (w->outcomes[i].status == OUTCOME_PENDING || w->outcomes[i].status == OUTCOME_DEFERRED)
			left[e.recipient_count++] = w->m->envelope.recipients[i];
	err = content_load(q, w->m, e.content_size, &content);
	if (!err && e.recipient_count)
		err = submit_message(q, &e, buf_str(&content), id, &why);
	if (err)
		log_warn("%s: not requeued: %s", e.queue_id, why.len ? buf_cstr(&why) : strerror(-err));
	else
		w->is_deleted = true;
	buf_done(&content);
	buf_done(&why);
}

static void run(void *arg)
{
	struct qmgr *q = arg;
	struct list *link;

	while ((link = list_first(&q->reports))) {
		struct message_work *w = LIST_ENTRY(link, struct message_work, link);

		list_remove(link);
		send_all(q, w);
		/* Asked for before, or while the reports were on their way. */
		if (w->is_requeued && !w->is_deleted)
			requeue(q, w);
		finish_end(q, w);
	}
	q->report_fibers--;
}

void report_start(struct qmgr *q, struct message_work *w)
{
	list_add(&q->reports, &w->link);
	if (q->report_fibers >= FIBER_LIMIT)
		return;
	q->report_fibers++;
	fiber_start("report", run, q);
}
