/* SPDX-License-Identifier: Apache-2.0 */
/* From a message to its jobs: where each recipient goes, and who goes together. */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "mail/address.h"
#include "role/qmgr/qmgr.h"
#include "route/resolve.h"

enum {
	SEEN_DOMAINS_MAX = 10000,
	RESOLVER_COUNT = 20,        /* lookups that may wait at the same time */
	JOB_RECIPIENT_LIMIT = 5000, /* of one message to a deliverer, whatever is configured */
	TURN = 64,                  /* messages before the other fibers have the word */
};

/* Where one recipient goes. */
struct stop {
	struct str transport;
	struct str nexthop;
	struct str key; /* of the destination in the schedule */
	struct str address;
	const struct transport_info *info;
	uint32_t at; /* place in the envelope */
};

void routing_release(struct routing *r)
{
	if (!r || !r->is_retired || r->users)
		return;
	router_free(r->router);
	config_free(r->config);
	free(r);
}

void activate_feed(struct qmgr *q)
{
	bool has_room =
		map_count(&q->works) < q->settings->active_limit && q->recipient_count < q->settings->active_recipient_limit;

	if (has_room != q->is_hungry && q->is_spool_open) {
		q->is_hungry = has_room;
		spool_set_hungry(q->spool, has_room);
	}
}

void activate_begin(struct qmgr *q, struct spool_message *m, bool is_due)
{
	struct message_work *w = arena_alloc(&m->arena, sizeof *w);

	m->arg = w;
	w->m = m;
	w->is_due = is_due;
	w->is_held = !m->is_indexed && m->envelope.flags & ENVELOPE_HOLD;
	w->outcomes = arena_alloc(&m->arena, m->envelope.recipient_count * sizeof *w->outcomes);
	list_init(&w->jobs);
	map_set(&q->works, str_of(m->envelope.queue_id), w);
	q->due_count += is_due;
	q->recipient_count += m->envelope.recipient_count;
	list_add(is_due ? &q->fresh_due : &q->fresh, &w->link);
	wait_list_wake_one(&q->resolvers);
	activate_feed(q);
}

/* --- one recipient ------------------------------------------------------------------- */

/* user+extension@domain at a nexthop counts as user@nexthop: each user is a destination. */
static struct str user_key(const struct qmgr *q, struct str address, struct str nexthop, struct arena *a)
{
	struct str local, domain;
	size_t end;

	address_split(address, &local, &domain);
	end = q->settings->recipient_delimiter.len ? local.len : 0;
	for (size_t i = 1; i < end; i++)
		if (str_has(q->settings->recipient_delimiter, local.ptr[i]))
			end = i;
	if (end)
		local = str_cut(local, 0, end);
	return arena_lower(a, arena_printf(a, "%.*s@%.*s", STR_ARG(local), STR_ARG(nexthop)));
}

static bool is_double_bounce_address(const struct qmgr *q, struct str address)
{
	struct str local, domain;

	address_split(address, &local, &domain);
	return str_eq_nocase(local, q->settings->double_bounce);
}

/* content_filter and FILTER: one transport for all recipients; without a nexthop it is the recipient's domain. */
static void apply_filter(const struct qmgr *q, struct str filter, struct route *route)
{
	struct str transport = filter, nexthop = {0};

	str_split(filter, ':', &transport, &nexthop);
	if (str_is_empty(nexthop))
		nexthop = q->settings->filter_nexthop;
	if (str_is_empty(nexthop))
		nexthop = address_domain(route->recipient);
	route->transport = transport;
	route->nexthop = nexthop;
}

/* What needs no deliverer. True when the recipient has its outcome. */
static bool settle_here(struct qmgr *q, struct message_work *w, uint32_t at, const struct route *route)
{
	struct outcome *o = &w->outcomes[at];

	if (route->class != CLASS_LOCAL || !is_double_bounce_address(q, route->recipient))
		return false;
	o->status = OUTCOME_SENT;
	o->reason.dsn = STR("2.0.0");
	o->reason.text = STR("undeliverable postmaster notification discarded");
	log_recipient(q, w, at, route->recipient, "sent");
	return true;
}

/* sendmail -bv: whether a recipient of this host exists is known without a delivery. True when it has its outcome. */
static bool probe_here(struct qmgr *q, struct router *router, struct message_work *w, const struct stop *stop,
                       const struct route *route)
{
	struct outcome *o = &w->outcomes[stop->at];
	struct buf why = BUF_INIT(1000);
	const char *table;
	int exists;

	if (!(w->m->envelope.flags & ENVELOPE_VERIFY_ONLY) || stop->info->role != ROLE_LOCAL || stop->info->is_error)
		return false;
	exists = router_recipient_exists(router, route, &w->m->arena, &table, &why);
	o->status = exists > 0 ? OUTCOME_DELIVERABLE : OUTCOME_UNDELIVERABLE;
	if (exists > 0)
		o->reason = (struct spool_reason){.dsn = STR("2.0.0"), .text = STR("delivers on this host")};
	else if (exists == 0)
		o->reason = (struct spool_reason){
			.dsn = STR("5.1.1"),
			.text = arena_printf(&w->m->arena, "unknown user: \"%.*s\"", STR_ARG(route->recipient))};
	else
		o->reason = (struct spool_reason){.dsn = STR("4.3.0"), .text = arena_str(&w->m->arena, buf_str(&why))};
	buf_done(&why);
	log_recipient(q, w, stop->at, route->recipient, exists > 0 ? "deliverable" : "undeliverable");
	return true;
}

/* Once a domain: an operator who lists it twice hears of it. */
static void note_conflicts(struct qmgr *q, struct router *router, const struct route *route)
{
	static char mark;
	struct str domain = address_domain(route->recipient), name = view_get(q->settings->view, STR("syslog_name"));
	struct route_conflict conflicts[2];
	char tag[160];

	if (route->class == CLASS_DEFAULT || route->class == CLASS_RELAY || map_count(&q->seen_domains) >= SEEN_DOMAINS_MAX ||
	    map_set(&q->seen_domains, domain, &mark))
		return;
	snprintf(tag, sizeof tag, "%.*s/trivial-rewrite", STR_ARG(name));
	for (size_t i = 0, count = router_conflicts(router, domain, route->class, conflicts); i < count; i++)
		log_tagged(str_of(tag), LOG_LEVEL_WARN, "do not list domain %.*s in BOTH %s and %s", STR_ARG(domain),
		           conflicts[i].first, conflicts[i].second);
}

/* False when the recipient already has its outcome. */
static bool route_recipient(struct qmgr *q, struct router *router, struct message_work *w, uint32_t at, struct stop *stop)
{
	struct envelope *e = &w->m->envelope;
	struct arena *a = &w->m->arena;
	struct str address = e->recipients[at].address;
	struct buf why = BUF_INIT(1000);
	struct route route;

	if (router_resolve(router, e->sender, address, a, &route, &why)) {
		log_warn("%s: resolving a recipient: %s", e->queue_id, buf_cstr(&why));
		job_defer_recipient(q, w, at, address, STR("4.3.0"), STR("address resolver failure"));
		buf_done(&why);
		return false;
	}
	buf_done(&why);
	note_conflicts(q, router, &route);
	if (settle_here(q, w, at, &route))
		return false;
	if (e->filter.len && !is_double_bounce_address(q, e->sender) && !(e->flags & ENVELOPE_VERIFY_ONLY))
		apply_filter(q, e->filter, &route);
	/* Copies: a job may wait longer than the router and its configuration live. */
	*stop = (struct stop){.at = at,
	                      .transport = arena_str(a, route.transport),
	                      .nexthop = arena_str(a, route.nexthop),
	                      .address = arena_str(a, route.recipient)};
	stop->info = settings_transport(q->settings, route.transport);
	if (stop->info->is_deferred && !(w->m->flags & SPOOL_FLUSHED)) {
		job_defer_recipient(q, w, at, route.recipient, STR("4.3.2"), STR("deferred transport"));
		return false;
	}
	if (!stop->info->is_known) {
		log_warn("transport %.*s is no service of master.cf", STR_ARG(route.transport));
		job_defer_recipient(q, w, at, route.recipient, STR("4.3.0"), STR("mail transport unavailable"));
		return false;
	}
	if (probe_here(q, router, w, stop, &route))
		return false;
	stop->key = stop->info->recipient_limit == 1 && !stop->info->is_error ? user_key(q, route.recipient, route.nexthop, a)
	                                                                      : arena_lower(a, route.nexthop);
	return true;
}

/* --- jobs ------------------------------------------------------------------------------ */

static int stop_cmp(const void *left, const void *right)
{
	const struct stop *a = left, *b = right;
	int order = str_cmp(a->transport, b->transport);

	if (!order)
		order = str_cmp(a->key, b->key);
	if (!order)
		order = str_cmp(a->nexthop, b->nexthop);
	return order ? order : (a->at > b->at) - (a->at < b->at);
}

static bool goes_together(const struct stop *a, const struct stop *b)
{
	return str_eq(a->transport, b->transport) && str_eq(a->key, b->key) && str_eq(a->nexthop, b->nexthop);
}

static struct job *job_new(struct message_work *w, const struct stop *stops, uint32_t count)
{
	struct arena *a = &w->m->arena;
	struct job *job = arena_alloc(a, sizeof *job);

	job->work = w;
	job->transport = stops[0].info;
	job->transport_name = stops[0].transport;
	job->nexthop = stops[0].nexthop;
	job->count = count;
	job->addresses = arena_alloc(a, count * sizeof *job->addresses);
	job->recipients = arena_alloc(a, count * sizeof *job->recipients);
	for (uint32_t i = 0; i < count; i++) {
		job->addresses[i] = stops[i].address;
		job->recipients[i] = stops[i].at;
	}
	list_init(&job->peer_link);
	list_init(&job->message_link);
	return job;
}

void activate_pass(struct qmgr *q, struct message_work *w, uint32_t at, struct str address, struct str transport,
                   struct str nexthop)
{
	struct arena *a = &w->m->arena;
	struct stop stop = {.at = at, .address = address, .transport = transport, .nexthop = nexthop};

	if (str_is_empty(nexthop))
		stop.nexthop = address_domain(address);
	stop.info = settings_transport(q->settings, transport);
	if (!stop.info->is_known || stop.info->is_deferred) {
		if (!stop.info->is_known)
			log_warn("transport %.*s is no service of master.cf", STR_ARG(transport));
		job_defer_recipient(q, w, at, address, STR("4.3.0"), STR("mail transport unavailable"));
		return;
	}
	stop.key = stop.info->recipient_limit == 1 ? user_key(q, address, stop.nexthop, a) : arena_lower(a, stop.nexthop);
	job_add(q, job_new(w, &stop, 1), stop.key);
}

/* Length of the next run of stops that make one job. */
static uint32_t run_length(const struct stop *stops, uint32_t count)
{
	uint32_t limit = stops[0].info->recipient_limit, length = 1;

	if (!limit || limit > JOB_RECIPIENT_LIMIT)
		limit = JOB_RECIPIENT_LIMIT;
	while (length < count && length < limit && goes_together(&stops[0], &stops[length]))
		length++;
	return length;
}

/* How many jobs the stops of one transport make: many mean bulk. */
static uint32_t count_jobs(const struct stop *stops, uint32_t count, struct str transport)
{
	uint32_t jobs = 0;

	for (uint32_t i = 0; i < count && str_eq(stops[i].transport, transport); i += run_length(stops + i, count - i))
		jobs++;
	return jobs;
}

static void make_jobs(struct qmgr *q, struct message_work *w, struct stop *stops, uint32_t count)
{
	struct str transport = {0};
	bool is_bulk = false;
	uint32_t length;

	if (count > 1)
		qsort(stops, count, sizeof *stops, stop_cmp);
	for (uint32_t i = 0; i < count; i += length) {
		struct job *job;

		if (count > 1 && !str_eq(transport, stops[i].transport)) {
			transport = stops[i].transport;
			is_bulk = stops[i].info->bulk_count &&
			          count_jobs(stops + i, count - i, transport) >= stops[i].info->bulk_count;
		}
		length = run_length(stops + i, count - i);
		job = job_new(w, stops + i, length);
		job->entry.is_bulk = is_bulk;
		job_add(q, job, stops[i].key);
	}
}

/* An operator gave it up: it fails with what held it up so far, and is not tried again. */
static void expire_all(struct message_work *w)
{
	for (uint32_t i = 0; i < w->m->envelope.recipient_count; i++) {
		struct outcome *o = &w->outcomes[i];

		if (o->status != OUTCOME_PENDING)
			continue;
		o->status = OUTCOME_DEFERRED;
		o->reason = w->m->recipients[i].reason;
		if (!o->reason.dsn.len)
			o->reason = (struct spool_reason){.dsn = STR("4.3.2"), .text = STR("message expired by the operator")};
	}
}

/* Tables that were written anew are opened again; while they cannot be, the old ones serve. */
static void refresh_tables(struct qmgr *q)
{
	static struct instant next;
	struct routing *r = q->routing;
	struct buf why = BUF_INIT(1 << 16);
	struct router *fresh;

	if (instant_is_before(clock_now(), next) || r->users)
		return;
	next = clock_deadline(duration_s(1));
	if (!router_has_changed(r->router))
		return;
	if (router_new(config_main_view(r->config), &fresh, &why)) {
		log_warn("a table was replaced, but cannot be opened: %s", buf_cstr(&why));
	} else {
		router_free(r->router);
		r->router = fresh;
	}
	buf_done(&why);
}

/* The work may be gone on return. */
static void activate(struct qmgr *q, struct message_work *w)
{
	struct routing *r = q->routing;
	uint32_t count = w->m->envelope.recipient_count, stop_count = 0;
	struct stop *stops = NULL;

	refresh_tables(q);
	w->active_at = clock_wall();
	w->jobs_left = 1;
	for (uint32_t i = 0; i < count; i++)
		if (w->m->recipients[i].is_done)
			w->outcomes[i].status = OUTCOME_EARLIER;
	if (w->m->flags & SPOOL_EXPIRED) {
		expire_all(w);
	} else if (!work_is_withdrawn(w)) {
		log_active(q, w->m);
		stops = arena_alloc(&w->m->arena, count * sizeof *stops);
		r->users++;
		for (uint32_t i = 0; i < count; i++)
			if (w->outcomes[i].status == OUTCOME_PENDING && route_recipient(q, r->router, w, i, &stops[stop_count]))
				stop_count++;
		r->users--;
		routing_release(r);
		if (!work_is_withdrawn(w))
			make_jobs(q, w, stops, stop_count);
	}
	if (--w->jobs_left == 0)
		finish_begin(q, w);
}

/* New mail first, but not only. */
static struct message_work *next_work(struct qmgr *q, unsigned turn)
{
	struct list *first = turn % 4 ? &q->fresh : &q->fresh_due;
	struct list *link = list_first(first);

	if (!link)
		link = list_first(turn % 4 ? &q->fresh_due : &q->fresh);
	if (!link)
		return NULL;
	list_remove(link);
	return LIST_ENTRY(link, struct message_work, link);
}

static void resolve(void *arg)
{
	struct qmgr *q = arg;
	int err = 0;

	for (unsigned turn = 1; !err; turn++) {
		struct message_work *w = q->is_draining || !q->is_spool_open ? NULL : next_work(q, turn);

		if (!w) {
			err = wait_list_wait(&q->resolvers, INSTANT_NEVER);
			continue;
		}
		activate(q, w);
		job_pump(q);
		if (turn % TURN == 0)
			err = fiber_yield();
	}
}

void activate_start(struct qmgr *q)
{
	for (int i = 0; i < RESOLVER_COUNT; i++)
		fiber_start("resolve", resolve, q);
}
