/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue as a list: first what is at work and not yet in the index, then a snapshot of the index. The snapshot lasts for
 * a few seconds only: a reader who is slower sees the rest as it is by then, and nothing twice.
 */
#include <errno.h>
#include <stdlib.h>

#include "role/qmgr/control.h"

enum { READER_TIME = 300, SNAPSHOT_TIME = 10 };

struct listing {
	struct qmgr *q;
	struct channel *ch;
	struct spool_list *list;
	struct instant fresh_until; /* the snapshot */
	struct map shown;           /* queue ids of what is at work: after a pause the index may have it as well */
	uint64_t count;
};

static const char *queue_of(const struct qmgr *q, const struct spool_message *m)
{
	const struct message_work *w = map_find(&q->works, str_of(m->envelope.queue_id));

	if (w)
		return w->active_at.us ? "active" : "incoming";
	return m->flags & SPOOL_HELD ? "hold" : "deferred";
}

/* The reason of this round, where there is one already; else that of the last. */
static struct str reason_of(const struct qmgr *q, const struct spool_message *m, uint32_t at)
{
	const struct message_work *w = map_find(&q->works, str_of(m->envelope.queue_id));

	if (w && w->m == m && w->outcomes[at].reason.text.len)
		return w->outcomes[at].reason.text;
	return m->recipients[at].reason.text;
}

static bool is_over(const struct qmgr *q, const struct spool_message *m, uint32_t at)
{
	const struct message_work *w = map_find(&q->works, str_of(m->envelope.queue_id));

	return m->recipients[at].is_done || (w && w->m == m && w->outcomes[at].status == OUTCOME_SENT);
}

/* Lets the reader catch up. The snapshot holds back the reuse of pages, so it must not wait for somebody who sleeps. */
static int wait_for_reader(struct listing *l)
{
	int err = channel_wait_room(l->ch, l->fresh_until);

	if ((err && err != -ETIMEDOUT) || (!err && instant_is_before(clock_now(), l->fresh_until)))
		return err;
	spool_list_pause(l->list);
	err = channel_wait_room(l->ch, clock_deadline(duration_s(READER_TIME)));
	l->fresh_until = clock_deadline(duration_s(SNAPSHOT_TIME));
	return err;
}

static int send_item(struct listing *l, const struct spool_message *m)
{
	const struct qmgr *q = l->q;
	struct channel *ch = l->ch;
	const struct envelope *e = &m->envelope;
	struct message item = {.type = MESSAGE_QUEUE_ITEM};
	int err;

	item.queue_item = (struct message_queue_item){
		.queue_id = str_of(e->queue_id),
		.queue = str_of(queue_of(q, m)),
		.arrival = (uint64_t)e->arrival.us,
		.size = e->content_size,
		.sender = e->sender,
		.is_expired = (m->flags & SPOOL_EXPIRED) != 0,
		.next_attempt = (uint64_t)m->next_attempt.us,
	};
	err = channel_send(ch, &item);
	for (uint32_t i = 0; i < e->recipient_count && !err; i++) {
		struct message rcpt = {.type = MESSAGE_QUEUE_RECIPIENT};

		if (is_over(q, m, i))
			continue;
		rcpt.queue_recipient = (struct message_queue_recipient){
			.address = e->recipients[i].address, .original = e->recipients[i].original, .reason = reason_of(q, m, i)};
		err = channel_send(ch, &rcpt);
	}
	l->count++;
	return err ? err : wait_for_reader(l);
}

static int send_works(struct listing *l)
{
	static char mark;
	struct queue_ids ids = queue_ids_at_work(l->q);
	int err = 0;

	for (size_t i = 0; i < ids.count && !err; i++) {
		const struct message_work *w = map_find(&l->q->works, str_of(ids.ids[i].id));

		if (!w || w->m->is_indexed)
			continue;
		map_set(&l->shown, str_of(ids.ids[i].id), &mark);
		err = send_item(l, w->m);
	}
	free(ids.ids);
	return err;
}

static int send_index(struct listing *l)
{
	const struct spool_message *m;
	int err = 0;

	while (!err && !(err = spool_list_next(l->list, &m)))
		if (!map_find(&l->shown, str_of(m->envelope.queue_id)))
			err = send_item(l, m);
	return err;
}

int listing_send(struct qmgr *q, struct channel *ch, uint64_t *ret_count)
{
	struct listing l = {.q = q, .ch = ch, .fresh_until = clock_deadline(duration_s(SNAPSHOT_TIME))};
	int err = spool_list_open(q->spool, &l.list);

	if (err)
		return err;
	err = send_works(&l);
	if (!err)
		err = send_index(&l);
	spool_list_close(l.list);
	map_done(&l.shown);
	*ret_count = l.count;
	return err == -ENOENT ? 0 : err;
}
