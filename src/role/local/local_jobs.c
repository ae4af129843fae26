/* SPDX-License-Identifier: Apache-2.0 */
/* Takes jobs from qmgr, gives each to the agent of its transport, answers. */
#include "role/local/local_jobs.h"

#include <errno.h>
#include <unistd.h>

#include "base/log.h"
#include "base/map.h"
#include "role/local/local.h"

static struct {
	struct process *process;
	size_t running;
} local;

/* A queue manager and the files that it opened for us. Stays while jobs refer to it. */
struct customer {
	struct channel *ch;
	struct map segments; /* "number epoch" to struct content_file */
	struct map larges;   /* number to struct content_file */
	size_t running;      /* of its jobs */
	bool is_gone;
};

/* The name of a segment of one epoch. */
struct segment_name {
	uint32_t number;
	uint32_t epoch;
};

static struct str segment_key(const struct segment_name *n)
{
	return str_n((const char *)n, sizeof(*n));
}

static void set_file(struct map *m, struct str key, int fd)
{
	struct content_file *old = map_set(m, key, content_file_new(fd));

	if (old)
		content_file_release(old);
}

static void drop_file(struct map *m, struct str key)
{
	struct content_file *f = map_remove(m, key);

	if (f)
		content_file_release(f);
}

static void drop_all(struct map *m)
{
	size_t at = 0;
	struct str key;
	void *f;

	while (map_next(m, &at, &key, &f))
		content_file_release(f);
	map_done(m);
	*m = MAP_INIT;
}

static struct content_file *find_file(const struct customer *c, const struct message_deliver *d)
{
	struct segment_name name = {d->segment, d->epoch};

	return d->large != 0 ? map_find(&c->larges, str_n((const char *)&d->large, sizeof(d->large)))
	                     : map_find(&c->segments, segment_key(&name));
}

static void customer_release(struct customer *c)
{
	if (!c->is_gone || c->running > 0)
		return;
	channel_free(c->ch);
	free(c);
}

static void finish_job(struct job *j)
{
	struct customer *c = j->customer;
	struct message m = {.type = MESSAGE_JOB_DONE, .job_done = {.job = j->number, .site = SITE_OK}};

	(void)!channel_send(j->qmgr, &m);
	if (j->file)
		content_file_release(j->file);
	arena_done(&j->arena);
	free(j);
	local.running--;
	c->running--;
	customer_release(c);
}

/* All recipients wait for a later try. */
static void defer_all(struct job *j, const struct outcome *o)
{
	for (uint32_t i = 0; i < j->envelope.recipient_count; i++) {
		outcome_log(j, o, j->envelope.recipients[i].address, j->envelope.recipients[i].original, "none");
		outcome_report(j, o, i);
	}
}

static void run_job(void *arg) WAITS;
static void run_job(void *arg)
{
	struct job *j = arg;
	struct outcome o;

	switch (j->transport->agent) {
	case AGENT_LOCAL:
		agent_local(j);
		break;
	case AGENT_VIRTUAL:
		agent_virtual(j);
		break;
	case AGENT_ERROR:
		agent_error(j, true);
		break;
	case AGENT_RETRY:
		agent_error(j, false);
		break;
	case AGENT_DISCARD:
		agent_discard(j);
		break;
	case AGENT_NONE:
		o = outcome_of(j, "4.3.5", "mail transport \"%.*s\" is none that delivers on this machine",
		               STR_ARG(j->transport->name));
		defer_all(j, &o);
		break;
	case AGENT_PIPE:
		agent_pipe(j);
		break;
	}
	finish_job(j);
}

/* A job with memory of its own; NULL if the message is junk. */
static struct job *make_job(struct customer *c, const struct message_deliver *d)
{
	struct job *j = mem_alloc(sizeof(*j));

	j->customer = c;
	j->qmgr = c->ch;
	j->number = d->job;
	j->nexthop = arena_str(&j->arena, d->nexthop);
	j->content_at = d->content_at;
	j->content_size = d->content_size;
	j->active = (struct wall_time){(int64_t)d->active_at};
	j->started = clock_wall();
	if (envelope_decode(arena_str(&j->arena, d->envelope), &j->arena, &j->envelope) != 0) {
		arena_done(&j->arena);
		free(j);
		return NULL;
	}
	return j;
}

/* Tables that were written anew are opened by the next generation of this role; what is under way keeps the old ones. */
static void look_for_changes(void)
{
	static struct instant next;
	static bool has_told;

	if (has_told || instant_is_before(clock_now(), next))
		return;
	next = clock_deadline(duration_s(1));
	if (transports_have_changed()) {
		has_told = true;
		process_table_changed(local.process, STR("local delivery"));
	}
}

static void take_job(struct customer *c, const struct message_deliver *d)
{
	struct job *j = make_job(c, d);

	if (!j) {
		log_warn("a job of the queue manager cannot be read");
		return;
	}
	local.running++;
	c->running++;
	look_for_changes();
	j->transport = transport_find(local.process->config, d->transport);
	j->file = find_file(c, d);
	if (j->file)
		content_file_hold(j->file);
	fiber_start("delivery", run_job, j);
}

static void take(struct customer *c, const struct message *m)
{
	struct segment_name name;

	switch (m->type) {
	case MESSAGE_DELIVER:
		take_job(c, &m->deliver);
		break;
	case MESSAGE_SEGMENT_OPEN:
		name = (struct segment_name){m->segment_open.segment, m->segment_open.epoch};
		set_file(&c->segments, segment_key(&name), m->fd);
		break;
	case MESSAGE_SEGMENT_CLOSE:
		name = (struct segment_name){m->segment_close.segment, m->segment_close.epoch};
		drop_file(&c->segments, segment_key(&name));
		break;
	case MESSAGE_LARGE_OPEN:
		set_file(&c->larges, str_n((const char *)&m->large_open.number, sizeof(uint64_t)), m->fd);
		break;
	case MESSAGE_LARGE_CLOSE:
		drop_file(&c->larges, str_n((const char *)&m->large_close.number, sizeof(uint64_t)));
		break;
	default:
		if (m->fd >= 0)
			close(m->fd);
		break;
	}
}

static void hear_qmgr(void *arg) WAITS;
static void hear_qmgr(void *arg)
{
	struct customer *c = arg;
	struct message m;

	while (channel_recv(c->ch, INSTANT_NEVER, &m) == 0)
		take(c, &m);
	/* The next one opens its own and knows nothing of these. */
	drop_all(&c->segments);
	drop_all(&c->larges);
	c->is_gone = true;
	customer_release(c);
}

void local_jobs_serve(struct process *p, struct channel *qmgr)
{
	struct customer *c = mem_alloc(sizeof(*c));

	c->ch = qmgr;
	local.process = p;
	fiber_start("qmgr", hear_qmgr, c);
}

static void wait_and_end(void *arg) WAITS;
static void wait_and_end(void *arg)
{
	while (local.running > 0)
		if (fiber_sleep(duration_ms(50)) != 0)
			break;
	workers_done();
	process_end(arg);
}

void local_jobs_drain(struct process *p)
{
	fiber_start("drain", wait_and_end, p);
}
