/* SPDX-License-Identifier: Apache-2.0 */
/* Beginning, new configurations, end. */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "config/params.h"
#include "process/process.h"
#include "role/qmgr/qmgr.h"
#include "route/resolve.h"
#include "table/table.h"

enum { DRAIN_TIME = 20 }; /* master waits 30 seconds */

static int routing_new(struct config *c, struct routing **ret_routing, struct buf *why)
{
	struct routing *r = mem_alloc(sizeof *r);
	int err = router_new(config_main_view(c), &r->router, why);

	if (err) {
		free(r);
		return err;
	}
	r->config = c;
	*ret_routing = r;
	return 0;
}

int qmgr_init(struct qmgr *q, struct config *c, struct buf *why)
{
	/* Its messages may be gone, and its router another one, after a wait. */
	table_never_wait();
	list_init(&q->fresh);
	list_init(&q->fresh_due);
	list_init(&q->peers);
	list_init(&q->stranded);
	list_init(&q->reports);
	list_init(&q->visits);
	wait_list_init(&q->visits_over);
	wait_list_init(&q->resolvers);
	wait_list_init(&q->due_wait);
	buf_init(&q->envelope, MESSAGE_SIZE_MAX);
	buf_init(&q->line, 65536);
	q->is_hungry = true;
	q->settings = settings_new(c);
	q->schedule = schedule_new(settings_limits, q->settings);
	schedule_set_dead_time(q->schedule, q->settings->backoff.minimal);
	return routing_new(c, &q->routing, why);
}

static void incoming(void *arg, struct spool_message *m)
{
	activate_begin(arg, m, false);
}

static void segment_gone(void *arg, uint32_t segment, uint32_t epoch)
{
	peer_close_segment(arg, segment, epoch);
}

static void large_gone(void *arg, uint64_t number)
{
	peer_close_large(arg, number);
}

static void trouble(void *arg, struct str text)
{
	log_warn("spool: %.*s", STR_ARG(text));
}

/* What must stay free on the disk: room for any message that was promised, and what the operator wants. */
static uint64_t disk_reserve(const struct qmgr *q)
{
	const struct params *p = q->settings->view->params;
	uint64_t message = (uint64_t)p->message_size_limit + (uint64_t)p->message_size_limit / 2;

	return (uint64_t)p->queue_minfree > message ? (uint64_t)p->queue_minfree : message;
}

int qmgr_open(struct qmgr *q, struct buf *why)
{
	struct spool_events events = {q, incoming, segment_gone, large_gone, trouble};
	struct spool_options options = {0};
	struct buf path = BUF_INIT(4096);
	int err;

	buf_addf(&path, "%.*s/" PROCESS_SPOOL_FOLDER, STR_ARG(q->settings->view->params->queue_directory));
	options.path = buf_cstr(&path);
	options.reserve = disk_reserve(q);
	activate_start(q);
	err = spool_open(&options, &events, why, &q->spool);
	buf_done(&path);
	if (err)
		return err;
	/* Messages of an earlier life may have come already. */
	q->is_spool_open = true;
	wait_list_wake_all(&q->resolvers);
	activate_feed(q);
	due_start(q);
	return 0;
}

int qmgr_reconfigure(struct qmgr *q, struct config *c, struct buf *why)
{
	struct routing *fresh;
	int err = routing_new(c, &fresh, why);

	if (err)
		return err;
	settings_apply(q->settings, c);
	schedule_reload(q->schedule);
	schedule_set_dead_time(q->schedule, q->settings->backoff.minimal);
	q->routing->is_retired = true;
	routing_release(q->routing);
	q->routing = fresh;
	if (q->is_spool_open)
		spool_set_reserve(q->spool, disk_reserve(q));
	activate_feed(q);
	due_wake(q);
	job_pump(q);
	return 0;
}

/* Deliveries that a living process has. */
static size_t running(const struct qmgr *q)
{
	size_t count = 0;

	for (const struct list *it = q->peers.next; it != &q->peers; it = it->next)
		count += LIST_ENTRY(it, const struct peer, link)->busy;
	return count;
}

bool qmgr_enter_spool(struct qmgr *q, struct spool_visit *v)
{
	if (!q->is_spool_open)
		return false;
	v->fiber = fiber_self();
	list_add(&q->visits, &v->link);
	return true;
}

void qmgr_leave_spool(struct qmgr *q, struct spool_visit *v)
{
	list_remove(&v->link);
	wait_list_wake_all(&q->visits_over);
}

static void empty_spool_of_visitors(struct qmgr *q)
{
	LIST_EACH(&q->visits, it)
		fiber_cancel(LIST_ENTRY(it, struct spool_visit, link)->fiber);
	while (!list_is_empty(&q->visits))
		wait_list_wait_always(&q->visits_over);
}

/* What they do not finish is found again at the next start. */
void qmgr_drain(struct qmgr *q)
{
	struct instant deadline = clock_deadline(duration_s(DRAIN_TIME));

	q->is_draining = true;
	spool_set_hungry(q->spool, false);
	while ((running(q) || q->report_fibers) && instant_is_before(clock_now(), deadline))
		if (fiber_sleep(duration_ms(20)))
			break;
	q->is_spool_open = false;
	empty_spool_of_visitors(q);
	spool_close(q->spool);
	q->spool = NULL;
}

void qmgr_done(struct qmgr *q)
{
	q->routing->is_retired = true;
	routing_release(q->routing);
	schedule_free(q->schedule);
	settings_free(q->settings);
	map_done(&q->works);
	map_done(&q->seen_domains);
	buf_done(&q->envelope);
	buf_done(&q->line);
	free(q->recipients);
	free(q->table.slots);
}
