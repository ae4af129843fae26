/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a round: what is done is marked, what remains goes into the index. */
#include "role/qmgr/qmgr.h"

#include "base/log.h"

static bool is_open(enum outcome_status status)
{
	return status == OUTCOME_PENDING || status == OUTCOME_DEFERRED;
}

static uint32_t count_open(const struct message_work *w)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < w->m->envelope.recipient_count; i++)
		count += is_open(w->outcomes[i].status);
	return count;
}

/* Too old, or given up by an operator: what is deferred fails. */
static void expire(struct qmgr *q, struct message_work *w)
{
	const struct spool_message *m = w->m;
	bool is_forced = m->flags & SPOOL_EXPIRED;

	if (!is_forced &&
	    !backoff_is_over(&q->settings->backoff, m->envelope.arrival, str_is_empty(m->envelope.sender), clock_wall()))
		return;
	w->is_expired = true;
	for (uint32_t i = 0; i < m->envelope.recipient_count; i++)
		if (w->outcomes[i].status == OUTCOME_DEFERRED)
			w->outcomes[i].status = OUTCOME_FAILED;
	log_expired(q, m, is_forced ? "force-expired" : "expired");
}

void finish_begin(struct qmgr *q, struct message_work *w)
{
	if (w->is_deleted) {
		finish_end(q, w);
		return;
	}
	if (!w->is_held && !w->is_requeued && count_open(w))
		expire(q, w);
	if (w->is_requeued || report_is_wanted(q, w))
		report_start(q, w);
	else
		finish_end(q, w);
}

static void forget(struct qmgr *q, struct message_work *w)
{
	struct str id = str_of(w->m->envelope.queue_id);

	if (map_find(&q->works, id) == w)
		map_remove(&q->works, id);
	q->due_count -= w->is_due;
	q->recipient_count -= w->m->envelope.recipient_count;
}

static void defer_message(struct qmgr *q, struct message_work *w)
{
	struct spool_message *m = w->m;

	for (uint32_t i = 0; i < m->envelope.recipient_count; i++) {
		if (!is_open(w->outcomes[i].status) && !m->recipients[i].is_done)
			spool_mark_done(q->spool, m, i);
		else if (w->outcomes[i].status == OUTCOME_DEFERRED)
			m->recipients[i].reason = w->outcomes[i].reason;
	}
	m->next_attempt = backoff_next(&q->settings->backoff, m->envelope.arrival, clock_wall());
	m->flags &= ~(uint32_t)SPOOL_FLUSHED;
	if (w->is_held)
		m->flags |= SPOOL_HELD;
	if (!(m->flags & SPOOL_HELD))
		due_expect(q, m->next_attempt);
	spool_defer(q->spool, m);
}

void finish_end(struct qmgr *q, struct message_work *w)
{
	bool was_due = w->is_due;

	forget(q, w);
	if (w->is_deleted || !count_open(w)) {
		log_removed(q, w->m);
		spool_finish(q->spool, w->m);
	} else {
		defer_message(q, w);
		was_due = true;
	}
	activate_feed(q);
	if (was_due)
		due_wake(q);
}
