/* SPDX-License-Identifier: Apache-2.0 */
/* What is due comes back from the index, in batches and never more than its share of the active queue. */
#include <errno.h>

#include "base/log.h"
#include "config/params.h"
#include "role/qmgr/qmgr.h"

enum {
	BATCH = 200,
	SHARE = 2, /* half of the active queue: the other half is for new mail */
	TROUBLE_PAUSE = 10,
};

static void take(void *arg, struct spool_message *m)
{
	activate_begin(arg, m, true);
}

static uint32_t room(const struct qmgr *q)
{
	size_t share = size_max(q->settings->active_limit / SHARE, 1);

	if (q->is_draining || q->due_count >= share || q->recipient_count >= q->settings->active_recipient_limit)
		return 0;
	return (uint32_t)size_min(share - q->due_count, BATCH);
}

static struct instant wall_deadline(struct wall_time at, struct wall_time now)
{
	return clock_deadline((struct duration){at.us <= now.us ? 0 : (at.us - now.us) * 1000});
}

/*
 * The index knows a message only when its commit is over, and tells nobody: so the time is
 * remembered here. To be safe, it is looked at every $queue_run_delay anyway.
 */
void due_expect(struct qmgr *q, struct wall_time at)
{
	if (!q->next_deferred.us || at.us < q->next_deferred.us)
		q->next_deferred = at;
	due_wake(q);
}

static struct instant next_look(struct qmgr *q, struct wall_time now)
{
	struct wall_time next = spool_next_due(q->spool);
	int64_t latest = now.us + q->settings->view->params->queue_run_delay.ns / 1000;

	if (q->next_deferred.us && q->next_deferred.us < next.us)
		next = q->next_deferred;
	if (next.us > latest)
		next.us = latest;
	return wall_deadline(next, now);
}

static int take_due(struct qmgr *q, struct wall_time now, uint32_t most, uint32_t *ret_count)
{
	struct spool_visit visit;
	int err;

	if (!qmgr_enter_spool(q, &visit))
		return -ECANCELED;
	err = spool_take_due(q->spool, now, most, take, q, ret_count);
	qmgr_leave_spool(q, &visit);
	return err;
}

static void feed(void *arg)
{
	struct qmgr *q = arg;
	struct instant deadline;
	uint32_t count;
	int err = 0;

	while (err != -ECANCELED) {
		struct wall_time now = clock_wall();
		uint32_t most = room(q);

		count = 0;
		deadline = INSTANT_NEVER;
		if (q->next_deferred.us <= now.us)
			q->next_deferred.us = 0;
		if (most && spool_next_due(q->spool).us <= now.us) {
			err = take_due(q, now, most, &count);
			if (err && err != -ECANCELED)
				log_warn("the index of deferred mail: %s", strerror(-err));
			deadline = clock_deadline(duration_s(err ? TROUBLE_PAUSE : 0));
		} else if (most) {
			deadline = next_look(q, now);
		}
		/* Even a full batch lets the others run before the next one. */
		err = count ? fiber_yield() : wait_list_wait(&q->due_wait, deadline);
	}
}

void due_wake(struct qmgr *q)
{
	wait_list_wake_all(&q->due_wait);
}

void due_start(struct qmgr *q)
{
	fiber_start("due", feed, q);
}
