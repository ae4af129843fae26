/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs on their way: to a deliverer, its answers, and what happens when it dies. */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "mail/reply.h"
#include "role/qmgr/qmgr.h"

enum {
	SPREAD = 4,       /* how much busier a destination's usual process may be than the idlest one */
	LOSSES_LIMIT = 3, /* deliverers that may die with a job */
	REASON_SIZE_LIMIT = 2000,
	SUSPENDED_PER_TURN = 256,
};

/* --- numbers ---------------------------------------------------------------------------- */

struct job_slot {
	struct job *job; /* NULL for a free one */
	uint32_t generation;
	uint32_t next_free;
};

static void table_grow(struct job_table *t)
{
	uint32_t size = t->size ? t->size * 2 : 1024;

	t->slots = mem_resize(t->slots, size * sizeof *t->slots);
	for (uint32_t i = size; i-- > (t->size ? t->size : 1);) {
		t->slots[i] = (struct job_slot){.generation = 1, .next_free = t->free_at};
		t->free_at = i;
	}
	t->size = size;
}

static void table_add(struct job_table *t, struct job *job)
{
	struct job_slot *slot;

	if (!t->free_at)
		table_grow(t);
	slot = &t->slots[t->free_at];
	job->id = (uint64_t)slot->generation << 32 | t->free_at;
	t->free_at = slot->next_free;
	slot->job = job;
}

static void table_remove(struct job_table *t, struct job *job)
{
	uint32_t at = (uint32_t)job->id;
	struct job_slot *slot = &t->slots[at];

	slot->job = NULL;
	slot->generation++;
	slot->next_free = t->free_at;
	t->free_at = at;
	job->id = 0;
}

static struct job *table_find(const struct job_table *t, uint64_t id)
{
	uint32_t at = (uint32_t)id;

	return at && at < t->size && t->slots[at].job && t->slots[at].generation == id >> 32 ? t->slots[at].job : NULL;
}

/* --- ends --------------------------------------------------------------------------------- */

/* The message may be gone on return. */
static void job_over(struct qmgr *q, struct job *job)
{
	struct message_work *w = job->work;

	list_remove(&job->message_link);
	if (--w->jobs_left == 0)
		finish_begin(q, w);
}

void job_defer_recipient(struct qmgr *q, struct message_work *w, uint32_t at, struct str address, struct str dsn, struct str text)
{
	struct outcome *o = &w->outcomes[at];

	o->status = w->m->envelope.flags & ENVELOPE_VERIFY_ONLY ? OUTCOME_UNDELIVERABLE : OUTCOME_DEFERRED;
	o->reason.dsn = arena_str(&w->m->arena, dsn);
	o->reason.text = arena_str(&w->m->arena, str_cut(text, 0, REASON_SIZE_LIMIT));
	log_recipient(q, w, at, address, o->status == OUTCOME_DEFERRED ? "deferred" : "undeliverable");
}

static void defer_rest(struct qmgr *q, struct job *job, struct str dsn, struct str text)
{
	for (uint32_t i = 0; i < job->count; i++)
		if (job->work->outcomes[job->recipients[i]].status == OUTCOME_PENDING)
			job_defer_recipient(q, job->work, job->recipients[i], job->addresses[i], dsn, text);
}

/* The destination is dead: `reason` is "4.4.1 connect to ...". */
static void job_suspend(struct qmgr *q, struct job *job, struct str reason)
{
	struct arena *a = &job->work->m->arena;
	struct buf dsn = BUF_INIT(32);
	struct dsn_code code;

	if (dsn_code_parse(&reason, &code))
		code = DSN(4, 4, 1);
	code.class_digit = 4;
	dsn_code_format(&dsn, code);
	defer_rest(q, job, buf_str(&dsn), arena_printf(a, "delivery temporarily suspended: %.*s", STR_ARG(reason)));
	buf_done(&dsn);
	job_over(q, job);
}

void job_add(struct qmgr *q, struct job *job, struct str destination)
{
	struct message_work *w = job->work;
	struct str reason;

	w->jobs_left++;
	list_add(&w->jobs, &job->message_link);
	if (schedule_add(q->schedule, &job->entry, job->transport_name, destination, &reason))
		job_suspend(q, job, reason);
}

/* --- to a deliverer ------------------------------------------------------------------------- */

/*
 * A destination has a usual process, so that connections are used again; when that one is
 * much busier than others, the idlest helps.
 */
static struct peer *choose_peer(struct qmgr *q, const struct job *job)
{
	unsigned long long turn = hash_bytes(job->nexthop.ptr, job->nexthop.len);
	struct peer *idlest = NULL, *usual = NULL;
	size_t count = 0;

	LIST_EACH(&q->peers, it) {
		struct peer *p = LIST_ENTRY(it, struct peer, link);

		if (p->role != job->transport->role || p->is_draining || p->is_gone)
			continue;
		count++;
		if (!idlest || p->busy < idlest->busy)
			idlest = p;
		/* Each process in turn keeps its claim or loses it to the next: every one is as likely. */
		if (turn % count == 0)
			usual = p;
	}
	return usual && usual->busy < idlest->busy + SPREAD ? usual : idlest;
}

/* The envelope with just the recipients that the job has to serve. */
static struct str job_envelope(struct qmgr *q, const struct job *job)
{
	struct envelope e = job->work->m->envelope;

	if (q->recipients_size < job->count) {
		q->recipients_size = job->count * 2;
		q->recipients = mem_resize(q->recipients, q->recipients_size * sizeof *q->recipients);
	}
	for (uint32_t i = 0; i < job->count; i++) {
		q->recipients[i] = job->work->m->envelope.recipients[job->recipients[i]];
		q->recipients[i].address = job->addresses[i];
	}
	e.recipients = q->recipients;
	e.recipient_count = job->count;
	buf_reset(&q->envelope);
	envelope_encode(&q->envelope, &e);
	return buf_str(&q->envelope);
}

static int job_send(struct qmgr *q, struct job *job, struct peer *p)
{
	const struct spool_message *m = job->work->m;
	struct message deliver = {.type = MESSAGE_DELIVER};
	int err = peer_open_content(p, m);

	if (err)
		return err;
	deliver.deliver = (struct message_deliver){
		.job = job->id,
		.transport = job->transport_name,
		.nexthop = job->nexthop,
		.envelope = job_envelope(q, job),
		.segment = m->ref.segment,
		.epoch = m->ref.epoch,
		.large = m->large,
		.content_at = m->content_at,
		.content_size = m->envelope.content_size,
		.active_at = (uint64_t)job->work->active_at.us,
		.has_more = schedule_has_more(&job->entry),
	};
	return channel_send(p->channel, &deliver);
}

static void job_failed_to_start(struct qmgr *q, struct job *job, int err)
{
	log_warn("%s: cannot be given to a deliverer: %s", job->work->m->envelope.queue_id, strerror(-err));
	schedule_done(q->schedule, &job->entry, VERDICT_NONE, STR(""), clock_now());
	defer_rest(q, job, STR("4.3.0"), STR("queue file or deliverer trouble"));
	job_over(q, job);
}

static void job_start(struct qmgr *q, struct job *job)
{
	struct peer *p = choose_peer(q, job);
	int err;

	if (!p) {
		list_add(&q->stranded, &job->peer_link);
		return;
	}
	table_add(&q->table, job);
	err = job_send(q, job, p);
	if (err && err != -EPIPE) {
		table_remove(&q->table, job);
		job_failed_to_start(q, job, err);
		return;
	}
	/* With -EPIPE the end of that peer is about to be noticed, and the job goes to another. */
	job->peer = p;
	p->busy++;
	list_add(&p->jobs, &job->peer_link);
}

static void pump_later(struct timer *t)
{
	job_pump(CONTAINER_OF(t, struct qmgr, wakeup));
}

static void set_wakeup(struct qmgr *q, struct instant at)
{
	if (q->wakeup.at.ns == at.ns && q->wakeup.heap_at)
		return;
	timer_stop(&q->wakeup);
	if (at.ns != INSTANT_NEVER.ns)
		timer_start(&q->wakeup, at, pump_later);
}

void job_pump(struct qmgr *q)
{
	struct instant now = clock_now();
	struct schedule_entry *e;
	struct str reason;
	int suspended = 0;

	while (!q->is_draining && (e = schedule_take(q->schedule, now)))
		job_start(q, CONTAINER_OF(e, struct job, entry));
	for (; suspended < SUSPENDED_PER_TURN && (e = schedule_take_dropped(q->schedule, &reason)); suspended++)
		job_suspend(q, CONTAINER_OF(e, struct job, entry), reason);
	set_wakeup(q, suspended < SUSPENDED_PER_TURN ? schedule_wakeup(q->schedule) : now);
}

/* --- answers ---------------------------------------------------------------------------------- */

static struct job *find_job(struct peer *p, uint64_t id)
{
	struct job *job = table_find(&p->q->table, id);

	return job && job->peer == p ? job : NULL;
}

static struct str keep(struct arena *a, struct str s)
{
	return s.len ? arena_str(a, str_cut(s, 0, REASON_SIZE_LIMIT)) : (struct str){0};
}

/* A probe is answered once, whatever the answer. */
static enum outcome_status probe_outcome(unsigned status)
{
	return status == DELIVERY_SENT || status == DELIVERY_DELIVERABLE ? OUTCOME_DELIVERABLE : OUTCOME_UNDELIVERABLE;
}

static enum outcome_status outcome_of(const struct qmgr *q, const struct spool_message *m, unsigned status)
{
	if (m->envelope.flags & ENVELOPE_VERIFY_ONLY)
		return probe_outcome(status);
	switch (status) {
	case DELIVERY_SENT:
		return OUTCOME_SENT;
	case DELIVERY_BOUNCED:
		return q->settings->is_soft_bounce ? OUTCOME_DEFERRED : OUTCOME_FAILED;
	case DELIVERY_DELIVERABLE:
		return OUTCOME_DELIVERABLE;
	case DELIVERY_UNDELIVERABLE:
		return OUTCOME_UNDELIVERABLE;
	default:
		return OUTCOME_DEFERRED;
	}
}

int job_result(struct peer *p, const struct message_delivered *d)
{
	struct job *job = find_job(p, d->job);
	struct spool_message *m;
	struct outcome *o;
	uint32_t at;

	if (!job || d->recipient >= job->count)
		return -EBADMSG;
	m = job->work->m;
	at = job->recipients[d->recipient];
	o = &job->work->outcomes[at];
	if (o->status != OUTCOME_PENDING)
		return -EBADMSG;
	o->status = outcome_of(p->q, m, d->status);
	o->is_ours = job->transport->is_final;
	/* A sole recipient is marked with its message, a moment later. */
	if (o->status == OUTCOME_SENT && m->envelope.recipient_count > 1)
		spool_mark_done(p->q->spool, m, at);
	if (o->status == OUTCOME_SENT && !(m->envelope.recipients[at].notify & NOTIFY_SUCCESS) &&
	    !(m->envelope.flags & ENVELOPE_TRACE) && !(m->flags & SPOOL_WARNED))
		return 0;
	o->reason.dsn = keep(&m->arena, d->dsn);
	o->reason.text = keep(&m->arena, d->text);
	o->reason.mta = keep(&m->arena, d->mta);
	o->reason.diagnostic = keep(&m->arena, d->diagnostic);
	o->action = keep(&m->arena, d->action);
	return 0;
}

int job_pass(struct peer *p, const struct message_pass_on *m)
{
	struct job *job = find_job(p, m->job);
	struct outcome *o;

	if (!job || m->recipient >= job->count)
		return -EBADMSG;
	o = &job->work->outcomes[job->recipients[m->recipient]];
	if (o->status != OUTCOME_PENDING)
		return -EBADMSG;
	o->status = OUTCOME_PASSED;
	o->reason.mta = keep(&job->work->m->arena, m->transport);
	o->reason.text = keep(&job->work->m->arena, m->nexthop);
	return 0;
}

/* The job is over for those that another transport takes; theirs begin. */
static void start_passed(struct qmgr *q, struct job *job)
{
	for (uint32_t i = 0; i < job->count; i++) {
		struct outcome *o = &job->work->outcomes[job->recipients[i]];
		struct spool_reason where = o->reason;

		if (o->status != OUTCOME_PASSED)
			continue;
		*o = (struct outcome){.status = OUTCOME_PENDING};
		activate_pass(q, job->work, job->recipients[i], job->addresses[i], where.mta, where.text);
	}
}

static void job_leave_peer(struct job *job)
{
	table_remove(&job->peer->q->table, job);
	list_remove(&job->peer_link);
	job->peer->busy--;
	job->peer = NULL;
}

int job_end(struct peer *p, const struct message_job_done *d)
{
	static const enum verdict verdicts[SITE_STATE_COUNT] = {
		[SITE_OK] = VERDICT_GOOD, [SITE_BUSY] = VERDICT_BUSY, [SITE_DOWN] = VERDICT_BAD};
	struct job *job = find_job(p, d->job);
	struct qmgr *q = p->q;

	if (!job)
		return -EBADMSG;
	job_leave_peer(job);
	schedule_done(q->schedule, &job->entry, verdicts[d->site], d->reason, clock_now());
	defer_rest(q, job, STR("4.3.0"), STR("the deliverer said nothing about this recipient"));
	start_passed(q, job);
	job_over(q, job);
	job_pump(q);
	return 0;
}

/* --- deliverers come and go -------------------------------------------------------------------- */

/* Recipients that have their answer leave the job. */
static void job_compact(struct job *job)
{
	uint32_t left = 0;

	for (uint32_t i = 0; i < job->count; i++) {
		struct outcome *o = &job->work->outcomes[job->recipients[i]];

		if (o->status == OUTCOME_PASSED)
			*o = (struct outcome){.status = OUTCOME_PENDING};
		if (o->status != OUTCOME_PENDING)
			continue;
		job->recipients[left] = job->recipients[i];
		job->addresses[left++] = job->addresses[i];
	}
	job->count = left;
}

static void job_lost(struct qmgr *q, struct job *job)
{
	job_leave_peer(job);
	job_compact(job);
	if (job->count && !work_is_withdrawn(job->work) && ++job->losses < LOSSES_LIMIT) {
		schedule_again(q->schedule, &job->entry);
		return;
	}
	schedule_done(q->schedule, &job->entry, VERDICT_NONE, STR(""), clock_now());
	defer_rest(q, job, STR("4.3.0"), STR("the delivery process died"));
	job_over(q, job);
}

void job_peer_gone(struct peer *p)
{
	LIST_EACH(&p->jobs, it)
		job_lost(p->q, LIST_ENTRY(it, struct job, peer_link));
	job_pump(p->q);
}

void job_peer_came(struct peer *p)
{
	struct list waiting;

	list_init(&waiting);
	LIST_EACH(&p->q->stranded, it) {
		list_remove(it);
		list_add(&waiting, it);
	}
	LIST_EACH(&waiting, it) {
		list_remove(it);
		job_start(p->q, LIST_ENTRY(it, struct job, peer_link));
	}
	job_pump(p->q);
}

void job_withdraw(struct qmgr *q, struct message_work *w)
{
	/* Not begun yet, or at its end: both look at the marks of the message. */
	if (!w->jobs_left)
		return;
	w->jobs_left++;
	LIST_EACH(&w->jobs, it) {
		struct job *job = LIST_ENTRY(it, struct job, message_link);

		if (job->peer)
			continue;
		if (!list_is_empty(&job->peer_link)) {
			list_remove(&job->peer_link);
			schedule_again(q->schedule, &job->entry);
		}
		schedule_remove(q->schedule, &job->entry);
		list_remove(&job->message_link);
		w->jobs_left--;
	}
	if (--w->jobs_left == 0)
		finish_begin(q, w);
}
