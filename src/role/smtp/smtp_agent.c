/* SPDX-License-Identifier: Apache-2.0 */
/* Takes DELIVER from the queue manager; each becomes a fiber. */
#include "role/smtp/smtp_agent.h"

#include <errno.h>
#include <unistd.h>

#include "base/log.h"
#include "role/smtp/connection.h"
#include "role/smtp/content_file.h"
#include "role/smtp/smtp_delivery.h"

static struct {
	struct process *process;
	struct list works;
	size_t delivery_count;
	bool is_draining;
} agent;

/* A queue manager. Stays while deliveries refer to its channel. */
struct customer {
	struct channel *ch; /* NULL when it is gone */
	struct content_files files;
	size_t delivery_count;
};

struct work {
	struct list link;
	struct fiber *fiber;
	struct delivery delivery;
	struct customer *customer;
};

static void customer_release(struct customer *q)
{
	if (!q->ch && !q->delivery_count)
		free(q);
}

static void end_if_drained(void)
{
	if (!agent.is_draining || agent.delivery_count)
		return;
	connection_drop_kept();
	process_end(agent.process);
}

static void deliver(void *arg)
{
	struct work *w = arg;

	delivery_run(&w->delivery);
	content_file_put(w->delivery.file);
	arena_done(&w->delivery.arena);
	list_remove(&w->link);
	w->customer->delivery_count--;
	customer_release(w->customer);
	free(w);
	agent.delivery_count--;
	end_if_drained();
}

/* The strings of the message are gone with the next one; the delivery gets its own. */
static int work_start(struct customer *q, const struct message_deliver *m)
{
	struct work *w = mem_alloc(sizeof(*w));
	struct delivery *d = &w->delivery;
	int err = envelope_decode(arena_str(&d->arena, m->envelope), &d->arena, &d->envelope);

	if (err) {
		arena_done(&d->arena);
		free(w);
		return err;
	}
	w->customer = q;
	d->reports = &q->ch;
	d->transport = arena_str(&d->arena, m->transport);
	d->nexthop = arena_str(&d->arena, m->nexthop);
	d->settings = smtp_settings_find(d->transport);
	d->recipients = arena_alloc(&d->arena, (d->envelope.recipient_count + 1UL) * sizeof(*d->recipients));
	d->file = content_file_get(&q->files, m->segment, m->epoch, m->large);
	d->content_at = m->content_at;
	d->content_size = m->content_size;
	d->job = m->job;
	d->has_more = m->has_more;
	d->active.us = (int64_t)m->active_at;
	q->delivery_count++;
	agent.delivery_count++;
	list_add(&agent.works, &w->link);
	w->fiber = fiber_start("delivery", deliver, w);
	return 0;
}

static int customer_take(struct customer *q, const struct message *m)
{
	switch (m->type) {
	case MESSAGE_SEGMENT_OPEN:
		content_file_add(&q->files, m->segment_open.segment, m->segment_open.epoch, 0, m->fd);
		return 0;
	case MESSAGE_SEGMENT_CLOSE:
		content_file_remove(&q->files, m->segment_close.segment, m->segment_close.epoch, 0);
		return 0;
	case MESSAGE_LARGE_OPEN:
		content_file_add(&q->files, 0, 0, m->large_open.number, m->fd);
		return 0;
	case MESSAGE_LARGE_CLOSE:
		content_file_remove(&q->files, 0, 0, m->large_close.number);
		return 0;
	case MESSAGE_DELIVER:
		return work_start(q, &m->deliver);
	default:
		if (m->fd >= 0)
			close(m->fd);
		return -EBADMSG;
	}
}

static void serve(void *arg)
{
	struct customer *q = arg;
	struct message m;
	int err;

	while (!(err = channel_recv(q->ch, INSTANT_NEVER, &m)))
		if ((err = customer_take(q, &m)))
			break;
	if (err == -EBADMSG)
		log_warn("bad message from qmgr: the channel is closed");
	content_file_remove_all(&q->files);
	channel_free(q->ch);
	q->ch = NULL;
	customer_release(q);
}

void agent_serve(struct process *p, struct channel *ch)
{
	struct customer *q = mem_alloc(sizeof(*q));

	if (!agent.works.next)
		list_init(&agent.works);
	agent.process = p;
	q->ch = ch;
	fiber_start("qmgr", serve, q);
}

void agent_drain(struct process *p)
{
	agent.process = p;
	agent.is_draining = true;
	end_if_drained();
}

void agent_give_up(struct process *p)
{
	if (!agent.works.next)
		return;
	LIST_EACH(&agent.works, it) {
		struct work *w = LIST_ENTRY(it, struct work, link);

		if (!w->delivery.is_at_stake)
			fiber_cancel(w->fiber);
	}
}
