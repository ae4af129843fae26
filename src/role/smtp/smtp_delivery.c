/* SPDX-License-Identifier: Apache-2.0 */
/* Deliveries: which host is tried when, and what becomes of each recipient. */
#include "role/smtp/smtp_delivery.h"

#include <errno.h>

#include "base/log.h"
#include "config/params.h"
#include "mail/delivery_line.h"
#include "role/smtp/credentials.h"
#include "role/smtp/delivery_policy.h"
#include "role/smtp/smtp_tls.h"
#include "role/smtp/tls_status.h"
#include "role/smtp/transaction.h"

enum { LINE_MAX_SIZE = 8192, TRANSACTIONS_MAX = 1000, REPORT_AGAIN_MS = 100 };

static const char *status_word(const struct delivery *d, enum delivery_status status)
{
	switch (status) {
	case DELIVERY_SENT:
		return "sent";
	case DELIVERY_BOUNCED:
		return d->settings && d->settings->params->soft_bounce ? "SOFTBOUNCE" : "bounced";
	case DELIVERY_DELIVERABLE:
		return "deliverable";
	case DELIVERY_UNDELIVERABLE:
		return "undeliverable";
	default:
		return "deferred";
	}
}

static void log_outcome(struct delivery *d, const struct recipient *r, enum delivery_status status, const struct verdict *v,
                        const struct connection *c)
{
	struct buf line = BUF_INIT(LINE_MAX_SIZE);
	struct delivery_line l = {
		.queue_id = str_of(d->envelope.queue_id),
		.address = r->address,
		.original = r->original,
		.relay = v->relay.len ? v->relay : STR("none"),
		.conn_use = c ? c->use_count : 1,
		.arrival = d->envelope.arrival,
		.active = d->active,
		.started = d->started,
		.connected = d->connected,
		.ended = clock_wall(),
		.digits = d->settings ? (int)d->settings->params->delay_logging_resolution_limit : 2,
		.tls = v->tls.len ? v->tls : tls_status(d, v, c),
		.dsn = v->dsn,
		.status = str_of(status_word(d, status)),
		.text = v->text,
	};

	delivery_line_format(&line, &l);
	log_tagged(d->settings ? d->settings->tag : STR(""), LOG_LEVEL_INFO, "%s", buf_cstr(&line));
	buf_done(&line);
}

/* RFC 3464 "relayed": success was to be told, and the next server will not tell. */
static struct str action_word(const struct recipient *r, enum delivery_status status, const struct connection *c)
{
	bool is_relayed = status == DELIVERY_SENT && r->notify & NOTIFY_SUCCESS && c && !(c->ehlo.keywords & EHLO_DSN);

	return is_relayed ? STR("relayed") : STR("");
}

/*
 * What is said of an outcome must arrive, or mail that was delivered is delivered again: while the queue manager takes nothing,
 * and too much waits for it already, we wait. If it is gone, the next one finds these recipients undone, and nothing can change
 * that.
 */
static void report(struct delivery *d, const struct message *m)
{
	while (*d->reports && channel_send(*d->reports, m) == -ENOBUFS) {
		if (fiber_sleep(duration_ms(REPORT_AGAIN_MS))) {
			log_warn("%s: the queue manager took no outcome of a delivery before it was broken off",
			         d->envelope.queue_id);
			return;
		}
	}
}

void delivery_settle(struct delivery *d, uint32_t at, enum delivery_status status, const struct verdict *v,
                     const struct connection *c)
{
	const struct recipient *r = &d->envelope.recipients[at];
	struct str dsn = v->dsn;
	struct message m = {.type = MESSAGE_DELIVERED};

	log_outcome(d, r, status, v, c);
	if (status == DELIVERY_BOUNCED && d->settings && d->settings->params->soft_bounce) {
		status = DELIVERY_DEFERRED;
		dsn = arena_printf(&d->arena, "4%.*s", STR_ARG(str_from(dsn, 1)));
	}
	m.delivered = (struct message_delivered){
		.job = d->job, .recipient = at, .status = (uint8_t)status, .dsn = dsn, .text = v->text};
	m.delivered.mta = v->mta;
	m.delivered.diagnostic = v->diagnostic;
	m.delivered.action = action_word(r, status, c);
	report(d, &m);
	d->recipients[at].is_done = true;
	d->pending_count--;
}

void delivery_put_off(struct delivery *d, uint32_t at, const struct verdict *v, const struct connection *c)
{
	struct pending *p = &d->recipients[at];

	p->verdict = *v;
	p->verdict.tls = tls_status(d, v, c);
	p->has_verdict = true;
}

void delivery_failed(struct delivery *d, const struct verdict *v, bool is_accepted_only, const struct connection *c)
{
	bool is_probe = d->envelope.flags & ENVELOPE_VERIFY_ONLY;

	if (!v->is_permanent && !d->is_last_target && (v->diagnostic.len || str_starts(v->dsn, STR("4.7."))))
		log_tagged(d->settings->tag, LOG_LEVEL_INFO, "%s: %.*s", d->envelope.queue_id, STR_ARG(v->text));
	for (uint32_t i = 0; i < d->envelope.recipient_count; i++) {
		struct pending *p = &d->recipients[i];

		if (p->is_done || (is_accepted_only && !p->is_accepted))
			continue;
		if (v->is_permanent) {
			delivery_settle(d, i, is_probe ? DELIVERY_UNDELIVERABLE : DELIVERY_BOUNCED, v, c);
			continue;
		}
		/* What a server said about this recipient tells more than that another one was not there. */
		if (!p->has_verdict || !v->is_site || p->verdict.is_site) {
			delivery_put_off(d, i, v, c);
		}
	}
}

/* The delivery is over: who has no outcome yet waits for the next attempt. */
static void put_off(struct delivery *d)
{
	static const struct verdict unknown = {.dsn = {"4.3.0", 5}, .text = {"delivery was given up", 21}};

	for (uint32_t i = 0; i < d->envelope.recipient_count; i++) {
		struct pending *p = &d->recipients[i];

		if (!p->is_done)
			delivery_settle(d, i, DELIVERY_DEFERRED, p->has_verdict ? &p->verdict : &unknown, NULL);
	}
}

/* Transactions on one connection until nobody is left whom this server would take. */
static int converse(struct delivery *d, struct connection *c, struct verdict *v)
{
	for (int i = 0; i < TRANSACTIONS_MAX && !c->is_broken && !c->is_spent && !c->has_quit; i++) {
		bool is_held_over = false;
		int err = transaction_run(d, c, v);

		/* Replies to what was said are still on their way: nobody else may take them for his. */
		c->is_broken |= err == -ECANCELED;
		if (err)
			return err;
		for (uint32_t r = 0; r < d->envelope.recipient_count; r++)
			is_held_over |= d->recipients[r].is_held_over && !d->recipients[r].is_done;
		if (!is_held_over)
			break;
	}
	return 0;
}

static struct str cache_key(struct delivery *d, struct str nexthop)
{
	/* Who logs in under names of their own do not share connections. */
	struct str sender =
		d->settings && d->settings->sasl_passwords && d->settings->sasl_by_sender ? d->envelope.sender : STR("");

	/* Nor do those whose servers had to show different credentials. */
	return arena_printf(&d->arena, "%.*s\n%.*s\n%.*s\n%.*s", STR_ARG(d->transport), STR_ARG(nexthop), STR_ARG(sender),
	                    STR_ARG(d->policy.key));
}

static void let_go(struct delivery *d, struct connection *c)
{
	if (c && d->has_more && !(d->policy.is_never_kept && stream_tls(c->stream)))
		connection_keep(c, cache_key(d, d->tried));
	else
		connection_close(c);
}

/* Over connections that earlier deliveries left open. Dead ones are passed over in silence. */
static int try_kept(struct delivery *d)
{
	struct connection *c;
	struct verdict v;

	while (d->pending_count && (c = connection_take(cache_key(d, d->tried)))) {
		int err;

		d->connected = d->started;
		if (stream_tls(c->stream) && c->tls_log.parts & TLS_LOG_SUMMARY)
			smtp_tls_log(c, &d->policy, true);
		err = converse(d, c, &v);
		if (err == -EHOSTUNREACH && !v.is_stale)
			delivery_failed(d, &v, false, c);
		let_go(d, c);
		d->connected = (struct wall_time){0};
		if (!err || err == -ECANCELED)
			return err;
	}
	return 0;
}

/* Whoever would log in must not be led into clear text; nor whoever cannot know whether he would. */
static bool has_credentials(struct delivery *d, struct str host)
{
	struct buf why = BUF_INIT(1024);
	struct login_place place = {.sender = d->envelope.sender, .host = host, .nexthop = d->tried};
	struct credentials unused;
	int err = credentials_find(d->settings, &place, &d->arena, &unused, &why);

	buf_done(&why);
	return err != -ENOENT;
}

/* RFC 7435: for mail that has waited, clear text is better than none, where policy leaves it open. */
static bool may_go_in_clear(struct delivery *d, const struct connection_wish *wish, const struct verdict *v)
{
	return (v->is_tls_handshake || v->is_tls_lost) && wish->policy->level == CLIENT_TLS_MAY && !has_credentials(d, v->mta) &&
	       d->requiretls == REQUIRETLS_OPPORTUNISTIC &&
	       d->active.us - d->envelope.arrival.us >= d->settings->tls_fallback_age.ns / 1000;
}

static int open_connection(struct delivery *d, struct connection_wish *wish, struct connection **ret_connection,
                           struct verdict *v)
{
	int err = connection_open(wish, &d->arena, ret_connection, v);

	delivery_policy_report(d, wish->policy, *ret_connection);
	if (err == -EHOSTUNREACH && may_go_in_clear(d, wish, v)) {
		wish->avoids_tls = true;
		err = connection_open(wish, &d->arena, ret_connection, v);
	}
	return err;
}

static void note_site(struct delivery *d, const struct verdict *v)
{
	d->site = SITE_DOWN;
	d->site_reason = arena_printf(&d->arena, "%.*s %.*s", STR_ARG(v->dsn), STR_ARG(v->text));
}

/* TLS broke off in the middle of it: the same server once more without. On failure `*c` may be NULL. */
static int try_in_clear(struct delivery *d, struct connection_wish *wish, struct connection **c, struct verdict *v)
{
	int err;

	log_tagged(d->settings->tag, LOG_LEVEL_INFO, "%s: %.*s", d->envelope.queue_id, STR_ARG(v->text));
	connection_close(*c);
	wish->avoids_tls = true;
	err = connection_open(wish, &d->arena, c, v);
	return err ? err : converse(d, *c, v);
}

/* One host. *ret_has_session says that it was ready to talk. */
static int try_target(struct delivery *d, struct connection_wish *wish, bool *ret_has_session)
{
	struct connection *c;
	struct verdict v = {0};
	int err = delivery_policy_for_host(d, wish, &v);

	if (!err)
		d->host_policy = wish->policy;
	if (!err)
		err = open_connection(d, wish, &c, &v);
	*ret_has_session = !err;
	if (err == -ECANCELED)
		return err;
	if (err) {
		/* A site that cannot do what this message requires may be good enough for others. */
		if (delivery_policy_is_unmet(d, &v))
			d->unmet_count++;
		else
			note_site(d, &v);
		delivery_failed(d, &v, false, NULL);
		return 0;
	}
	d->connected = clock_wall();
	d->site = SITE_OK;
	err = converse(d, c, &v);
	if (err == -EHOSTUNREACH && v.is_tls_lost && may_go_in_clear(d, wish, &v))
		err = try_in_clear(d, wish, &c, &v);
	if (err == -EHOSTUNREACH) {
		delivery_failed(d, &v, false, c);
		err = 0;
	}
	let_go(d, c);
	d->connected = (struct wall_time){0};
	return err;
}

static int try_targets(struct delivery *d, const struct target_list *list, bool is_last_nexthop)
{
	struct connection_wish wish = {.settings = d->settings,
	                               .policy = &d->policy,
	                               .outcome = &d->outcome,
	                               .nexthop = d->tried,
	                               .sender = d->envelope.sender};
	int64_t sessions = 0, limit = d->settings->session_limit;
	size_t tried = 0;
	int err = 0;

	d->unmet_count = 0;
	for (size_t i = 0; !err && d->pending_count && i < list->count && (limit <= 0 || sessions < limit); i++) {
		bool has_session;

		wish.target = &list->targets[i];
		wish.avoids_tls = false;
		wish.policy = &d->policy;
		d->is_last_target = is_last_nexthop && (i + 1 == list->count || (limit > 0 && sessions + 1 >= limit));
		err = try_target(d, &wish, &has_session);
		sessions += has_session;
		tried++;
	}
	if (!err && is_last_nexthop && d->unmet_count && d->unmet_count == tried)
		delivery_policy_give_up(d);
	return err;
}

static int try_local_socket(struct delivery *d, struct str path)
{
	struct connection_wish wish = {.settings = d->settings,
	                               .policy = &d->policy,
	                               .outcome = &d->outcome,
	                               .path = path,
	                               .nexthop = d->tried,
	                               .sender = d->envelope.sender};
	bool has_session;
	int err;

	d->is_last_target = true;
	d->unmet_count = 0;
	err = try_target(d, &wish, &has_session);
	if (!err && d->unmet_count)
		delivery_policy_give_up(d);
	return err;
}

/* *ret_is_loop: no relay may help. */
static int try_nexthop(struct delivery *d, struct str text, bool is_last, bool *ret_is_loop)
{
	struct nexthop nexthop;
	struct target_list list;
	struct verdict v;
	int err;

	if (nexthop_parse(text, d->settings, &nexthop)) {
		v = (struct verdict){.is_permanent = true, .dsn = STR("5.4.4")};
		v.text = arena_printf(&d->arena, "bad nexthop \"%.*s\"", STR_ARG(text));
		delivery_failed(d, &v, false, NULL);
		return 0;
	}
	d->tried = text;
	d->has_wanted_tls = false;
	d->host_policy = NULL;
	d->outcome = (struct tls_outcome){.result = TLS_RESULT_UNTRIED};
	err = delivery_policy_read(d, &nexthop, &v);
	if (err == -ECANCELED)
		return err;
	if (err) {
		if (v.is_site)
			note_site(d, &v);
		delivery_failed(d, &v, false, NULL);
		return 0;
	}
	err = try_kept(d);
	if (err || !d->pending_count)
		return err;
	if (nexthop.path.len)
		return try_local_socket(d, nexthop.path);
	err = targets_find(&nexthop, d->settings, &d->arena, &list, &v);
	if (!err)
		err = delivery_policy_filter(d, &list, &v);
	if (!err)
		return try_targets(d, &list, is_last);
	if (err == -ECANCELED)
		return err;
	*ret_is_loop = v.is_loop;
	/* An unknown destination may still be one that a fallback relay knows. */
	if (!is_last && !v.is_loop)
		v.is_permanent = false;
	note_site(d, &v);
	if (v.is_permanent)
		d->site = SITE_OK;
	delivery_failed(d, &v, false, NULL);
	return 0;
}

static int try_nexthops(struct delivery *d)
{
	struct str fallback = d->settings->fallback_relay, list = d->nexthop, next, after;
	bool has_next = str_next(&list, " \t\r\n,", &next);
	bool is_loop = false;
	int err = 0;

	if (!has_next) {
		next = d->nexthop;
		has_next = true;
	}
	while (!err && has_next && d->pending_count && !is_loop) {
		bool has_after = str_next(&list, " \t\r\n,", &after) || str_next(&fallback, " \t\r\n,", &after);

		err = try_nexthop(d, next, !has_after, &is_loop);
		next = after;
		has_next = has_after;
	}
	return err;
}

static bool has_control(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] < ' ' || s.ptr[i] == 127)
			return true;
	return false;
}

/* What could end a command line and begin another must not reach a server, whoever let it in. */
static void refuse_bad_addresses(struct delivery *d)
{
	static const struct verdict bad = {.is_permanent = true, .dsn = {"5.1.3", 5}, .text = {"bad address syntax", 18}};
	bool is_sender_bad = has_control(d->envelope.sender) || has_control(d->envelope.envid);
	bool is_probe = d->envelope.flags & ENVELOPE_VERIFY_ONLY;

	for (uint32_t i = 0; i < d->envelope.recipient_count; i++) {
		const struct recipient *r = &d->envelope.recipients[i];

		if (is_sender_bad || has_control(r->address) || has_control(r->orcpt))
			delivery_settle(d, i, is_probe ? DELIVERY_UNDELIVERABLE : DELIVERY_BOUNCED, &bad, NULL);
	}
}

/* What stands in the way before any host is asked; false then, with everyone put off. */
static bool is_ready(struct delivery *d)
{
	struct verdict v = {.dsn = STR("4.3.5")};

	if (!d->settings) {
		v.text = arena_printf(&d->arena, "mail transport \"%.*s\" is not configured", STR_ARG(d->transport));
	} else if (!d->file) {
		v.dsn = STR("4.3.0");
		v.text = STR("the message is not in the spool");
	} else {
		return true;
	}
	d->is_last_target = true;
	delivery_failed(d, &v, false, NULL);
	return false;
}

void delivery_run(struct delivery *d)
{
	struct message m = {.type = MESSAGE_JOB_DONE};

	d->started = clock_wall();
	d->pending_count = d->envelope.recipient_count;
	d->site = SITE_OK;
	d->has_more |= connection_note_demand(cache_key(d, d->nexthop));
	refuse_bad_addresses(d);
	if (is_ready(d) && d->pending_count)
		(void)!try_nexthops(d);
	/* Broken off because the system stops: it begins again where it was after the next start. */
	if (fiber_is_cancelled())
		return;
	put_off(d);
	m.job_done = (struct message_job_done){.job = d->job, .site = (uint8_t)d->site, .reason = d->site_reason};
	report(d, &m);
}
