/* SPDX-License-Identifier: Apache-2.0 */
/* The role: what master's messages bring about. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "config/params.h"
#include "process/process.h"
#include "role/qmgr/qmgr.h"
#include "route/resolve.h"

enum { DRAIN_TIME = 60 };

static struct qmgr qmgr;

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

static void set_up(struct qmgr *q, struct process *p)
{
	q->process = p;
	list_init(&q->fresh);
	list_init(&q->fresh_due);
	list_init(&q->peers);
	list_init(&q->stranded);
	list_init(&q->reports);
	wait_list_init(&q->resolvers);
	wait_list_init(&q->due_wait);
	buf_init(&q->envelope, MESSAGE_SIZE_MAX);
	buf_init(&q->line, 65536);
	q->is_hungry = true;
	q->settings = settings_new(p->config);
	q->schedule = schedule_new(settings_limits, q->settings);
	schedule_set_dead_time(q->schedule, q->settings->backoff.minimal);
}

/* Tables that only root may read are opened while we may. */
static int prepare(struct process *p, struct buf *why)
{
	set_up(&qmgr, p);
	return routing_new(p->config, &qmgr.routing, why);
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

static int start(struct process *p, struct buf *why)
{
	struct qmgr *q = &qmgr;
	struct spool_events events = {q, incoming, segment_gone, large_gone, trouble};
	struct buf path = BUF_INIT(4096);
	struct spool_options options = {0};
	int err;

	buf_addf(&path, "%.*s/" PROCESS_SPOOL_FOLDER, STR_ARG(q->settings->view->params->queue_directory));
	options.path = buf_cstr(&path);
	activate_start(q);
	err = spool_open(&options, &events, why, &q->spool);
	buf_done(&path);
	if (err)
		return err;
	q->is_spool_open = true;
	activate_feed(q);
	due_start(q);
	return 0;
}

static void peer(struct process *p, enum ipc_role role, uint32_t id, struct channel *ch)
{
	peer_add(&qmgr, role, id, ch);
}

static void draining(struct process *p, enum ipc_role role, uint32_t id)
{
	peer_draining(&qmgr, role, id);
}

static void endpoint(struct process *p, struct str name, int fd)
{
	if (str_eq(name, STR("qmgr")))
		control_start(&qmgr, fd);
	else
		close(fd);
}

static int reconfigure(struct process *p, struct config *old, struct buf *why)
{
	struct qmgr *q = &qmgr;
	struct routing *fresh;
	int err = routing_new(p->config, &fresh, why);

	if (err)
		return err;
	settings_apply(q->settings, p->config);
	schedule_reload(q->schedule);
	schedule_set_dead_time(q->schedule, q->settings->backoff.minimal);
	q->routing->is_retired = true;
	routing_release(q->routing);
	q->routing = fresh;
	activate_feed(q);
	due_wake(q);
	job_pump(q);
	return 0;
}

/* Running deliveries may finish; what they do not finish is found again at the next start. */
static void drain_and_end(void *arg)
{
	struct qmgr *q = arg;
	struct instant deadline = clock_deadline(duration_s(DRAIN_TIME));

	while ((schedule_busy_count(q->schedule) || q->report_fibers) && instant_is_before(clock_now(), deadline))
		if (fiber_sleep(duration_ms(20)))
			break;
	q->is_spool_open = false;
	spool_close(q->spool);
	process_end(q->process);
}

static void drain(struct process *p)
{
	qmgr.is_draining = true;
	spool_set_hungry(qmgr.spool, false);
	fiber_start("drain", drain_and_end, &qmgr);
}

static const struct role role = {
    .id = ROLE_QMGR,
    .prepare = prepare,
    .start = start,
    .endpoint = endpoint,
    .peer = peer,
    .peer_draining = draining,
    .reconfigure = reconfigure,
    .drain = drain,
};

int main(int argc, char **argv)
{
	return process_main(&role, argc, argv);
}
