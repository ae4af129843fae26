/* SPDX-License-Identifier: Apache-2.0 */
/* What is due comes back from the index, in batches and never more than its share of the active queue. */
#include <errno.h>

#include "base/log.h"
#include "role/qmgr/qmgr.h"

enum {
	BATCH = 200,
	SHARE = 2,      /* half of the active queue: the other half is for new mail */
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
	if (at.us >= INT64_MAX / 1000)
		return INSTANT_NEVER;
	return clock_deadline((struct duration){at.us <= now.us ? 0 : (at.us - now.us) * 1000});
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
		if (most && spool_next_due(q->spool).us <= now.us) {
			err = spool_take_due(q->spool, now, most, take, q, &count);
			if (err && err != -ECANCELED)
				log_warn("the index of deferred mail: %s", strerror(-err));
			deadline = clock_deadline(duration_s(err ? TROUBLE_PAUSE : 0));
		} else if (most) {
			deadline = wall_deadline(spool_next_due(q->spool), now);
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
