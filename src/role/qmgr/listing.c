/* SPDX-License-Identifier: Apache-2.0 */
/* The queue as a list: first what is at work and not yet in the index, then a snapshot of the index. */
#include <errno.h>
#include <stdlib.h>

#include "role/qmgr/control.h"

enum { READER_TIME = 300 };

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

static int send_item(const struct qmgr *q, struct channel *ch, const struct spool_message *m)
{
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
	return err ? err : channel_wait_room(ch, clock_deadline(duration_s(READER_TIME)));
}

static int send_works(struct qmgr *q, struct channel *ch, uint64_t *count)
{
	struct queue_ids ids = queue_ids_at_work(q);
	int err = 0;

	for (size_t i = 0; i < ids.count && !err; i++) {
		const struct message_work *w = map_find(&q->works, str_of(ids.ids[i].id));

		if (!w || w->m->is_indexed)
			continue;
		++*count;
		err = send_item(q, ch, w->m);
	}
	free(ids.ids);
	return err;
}

int listing_send(struct qmgr *q, struct channel *ch, uint64_t *ret_count)
{
	const struct spool_message *m;
	struct spool_list *list;
	uint64_t count = 0;
	int err = spool_list_open(q->spool, &list);

	if (err)
		return err;
	err = send_works(q, ch, &count);
	while (!err && !(err = spool_list_next(list, &m))) {
		count++;
		err = send_item(q, ch, m);
	}
	spool_list_close(list);
	*ret_count = count;
	return err == -ENOENT ? 0 : err;
}
