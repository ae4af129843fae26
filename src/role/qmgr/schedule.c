/* SPDX-License-Identifier: Apache-2.0 */
/* Lines, windows and delays: see schedule.h. Everything that waits for a time stands in lists ordered by it. */
#include "role/qmgr/schedule.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/base.h"
#include "base/map.h"

enum lane { LANE_NORMAL, LANE_BULK, LANE_COUNT };
enum { REASON_SIZE_LIMIT = 2000 };

/* Open: takes part. Paused: the delay after a delivery. Dead: everything for it is deferred. */
enum destination_state { DESTINATION_OPEN, DESTINATION_PAUSED, DESTINATION_DEAD };

struct transport {
	struct list ready_link; /* in schedule.ready while something may start */
	struct list all_link;
	char *name;
	struct schedule_limits limits;
	struct map destinations;
	struct list ready[LANE_COUNT]; /* destinations that have work and room, in turn */
	struct list paused;            /* destinations, by the time when the delay ends */
	unsigned busy;
	unsigned normal_in_row; /* deliveries since bulk had one */
	struct instant paused_until;
};

struct schedule_destination {
	struct transport *transport;
	struct list ready_link[LANE_COUNT];
	struct list state_link; /* in transport.paused or schedule.dead */
	struct list todo[LANE_COUNT];
	struct str key;
	enum destination_state state;
	struct instant until; /* the end of a pause or of being dead */
	unsigned window;
	unsigned busy;
	size_t dropped;
	double success;
	double failure;
	double fail_cohorts;
	struct str reason; /* on the heap; of the failure that killed it */
};

struct schedule {
	schedule_limits_fn *limits_fn;
	void *limits_arg;
	struct duration dead_time;
	struct map transports;
	struct list all;     /* transports */
	struct list ready;   /* transports that may start something, in turn */
	struct list dead;    /* destinations, by the end of their time */
	struct list dropped; /* entries of destinations that have died */
	size_t waiting;
	size_t busy;
	size_t destination_count;
	struct str last_reason; /* of the destination that went last: what callers were given stays valid */
};

struct schedule *schedule_new(schedule_limits_fn *limits, void *arg)
{
	struct schedule *s = mem_alloc(sizeof *s);

	s->limits_fn = limits;
	s->limits_arg = arg;
	s->dead_time = duration_s(300);
	list_init(&s->all);
	list_init(&s->ready);
	list_init(&s->dead);
	list_init(&s->dropped);
	return s;
}

static void destination_free(struct schedule *s, struct schedule_destination *d)
{
	map_remove(&d->transport->destinations, d->key);
	list_remove(&d->state_link);
	for (int lane = 0; lane < LANE_COUNT; lane++)
		list_remove(&d->ready_link[lane]);
	if (d->reason.ptr) {
		free((void *)s->last_reason.ptr);
		s->last_reason = d->reason;
	}
	s->destination_count--;
	free(d);
}

void schedule_free(struct schedule *s)
{
	if (!s)
		return;
	LIST_EACH(&s->all, it) {
		struct transport *t = LIST_ENTRY(it, struct transport, all_link);
		size_t at = 0;
		void *value;

		while (map_next(&t->destinations, &at, NULL, &value))
			destination_free(s, value);
		map_done(&t->destinations);
		free(t->name);
		free(t);
	}
	map_done(&s->transports);
	free((void *)s->last_reason.ptr);
	free(s);
}

void schedule_set_dead_time(struct schedule *s, struct duration dead_time)
{
	s->dead_time = dead_time;
}

static void transport_limits(struct schedule *s, struct transport *t)
{
	struct schedule_limits *l = &t->limits;

	s->limits_fn(s->limits_arg, str_of(t->name), l);
	if (l->initial_concurrency < 1)
		l->initial_concurrency = 1;
	if (l->concurrency_limit && l->initial_concurrency > l->concurrency_limit)
		l->initial_concurrency = l->concurrency_limit;
	if (l->destination_delay.ns > 0)
		l->initial_concurrency = l->concurrency_limit = 1;
}

static struct transport *transport_get(struct schedule *s, struct str name)
{
	struct transport *t = map_find(&s->transports, name);

	if (t)
		return t;
	t = mem_alloc(sizeof *t);
	t->name = str_cstr(name);
	list_init(&t->ready_link);
	list_init(&t->paused);
	for (int lane = 0; lane < LANE_COUNT; lane++)
		list_init(&t->ready[lane]);
	transport_limits(s, t);
	list_add(&s->all, &t->all_link);
	map_set(&s->transports, name, t);
	return t;
}

static struct schedule_destination *destination_get(struct schedule *s, struct transport *t, struct str key)
{
	struct schedule_destination *d = map_find(&t->destinations, key);
	char *text;

	if (d)
		return d;
	d = mem_alloc(sizeof *d + key.len + 1);
	text = (char *)(d + 1);
	memcpy(text, key.ptr, key.len);
	d->key = str_n(text, key.len);
	d->transport = t;
	d->window = t->limits.initial_concurrency;
	list_init(&d->state_link);
	for (int lane = 0; lane < LANE_COUNT; lane++) {
		list_init(&d->todo[lane]);
		list_init(&d->ready_link[lane]);
	}
	map_set(&t->destinations, key, d);
	s->destination_count++;
	return d;
}

static unsigned destination_window(const struct schedule_destination *d)
{
	unsigned limit = d->transport->limits.concurrency_limit;

	return limit && d->window > limit ? limit : d->window;
}

/* A list is linked or not as a condition says. */
static void link_if(struct list *head, struct list *link, bool is_wanted)
{
	if (is_wanted && list_is_empty(link))
		list_add(head, link);
	else if (!is_wanted && !list_is_empty(link))
		list_remove(link);
}

static void transport_update(struct schedule *s, struct transport *t)
{
	const struct schedule_limits *l = &t->limits;
	bool has_work = !list_is_empty(&t->ready[LANE_NORMAL]) || !list_is_empty(&t->ready[LANE_BULK]);

	link_if(&s->ready, &t->ready_link, has_work && !t->paused_until.ns && (!l->process_limit || t->busy < l->process_limit));
}

/* Brings the rings in line with the destination after any change; frees it when there is nothing to remember. */
static void destination_update(struct schedule *s, struct schedule_destination *d)
{
	struct transport *t = d->transport;
	bool is_open = d->state == DESTINATION_OPEN && d->busy < destination_window(d);
	bool is_idle = d->state == DESTINATION_OPEN && !d->busy && !d->dropped;

	for (int lane = 0; lane < LANE_COUNT; lane++) {
		bool has_work = !list_is_empty(&d->todo[lane]);

		link_if(&t->ready[lane], &d->ready_link[lane], is_open && has_work);
		is_idle &= !has_work;
	}
	if (is_idle)
		destination_free(s, d);
	transport_update(s, t);
}

void schedule_reload(struct schedule *s)
{
	LIST_EACH(&s->all, it) {
		struct transport *t = LIST_ENTRY(it, struct transport, all_link);
		size_t at = 0;
		void *value;

		transport_limits(s, t);
		while (map_next(&t->destinations, &at, NULL, &value))
			destination_update(s, value);
		transport_update(s, t);
	}
}

int schedule_add(struct schedule *s, struct schedule_entry *e, struct str transport, struct str destination,
                 struct str *ret_reason)
{
	struct transport *t = transport_get(s, transport);
	struct schedule_destination *d = destination_get(s, t, destination);
	bool is_bulk = e->is_bulk && t->limits.slot_cost > 1;

	if (d->state == DESTINATION_DEAD) {
		*ret_reason = d->reason;
		return -EHOSTDOWN;
	}
	e->destination = d;
	e->state = ENTRY_WAITING;
	list_add(&d->todo[is_bulk ? LANE_BULK : LANE_NORMAL], &e->link);
	s->waiting++;
	destination_update(s, d);
	return 0;
}

/* Puts an element into a list ordered by time; nearly always at its end. */
static void list_add_timed(struct list *head, struct schedule_destination *d)
{
	struct list *after;

	list_remove(&d->state_link);
	after = head->prev;
	while (after != head && instant_is_before(d->until, LIST_ENTRY(after, struct schedule_destination, state_link)->until))
		after = after->prev;
	list_add_first(after, &d->state_link);
}

static void destination_open(struct schedule *s, struct schedule_destination *d)
{
	if (d->state == DESTINATION_DEAD) {
		d->window = d->transport->limits.initial_concurrency;
		d->success = d->failure = d->fail_cohorts = 0;
	}
	d->state = DESTINATION_OPEN;
	list_remove(&d->state_link);
	destination_update(s, d);
}

static void open_due(struct schedule *s, struct list *head, struct instant now)
{
	LIST_EACH(head, it) {
		struct schedule_destination *d = LIST_ENTRY(it, struct schedule_destination, state_link);

		if (instant_is_before(now, d->until))
			break;
		destination_open(s, d);
	}
}

static void wake_due(struct schedule *s, struct instant now)
{
	open_due(s, &s->dead, now);
	LIST_EACH(&s->all, it) {
		struct transport *t = LIST_ENTRY(it, struct transport, all_link);

		open_due(s, &t->paused, now);
		if (t->paused_until.ns && !instant_is_before(now, t->paused_until)) {
			t->paused_until.ns = 0;
			transport_update(s, t);
		}
	}
}

static enum lane transport_lane(struct transport *t)
{
	bool has_normal = !list_is_empty(&t->ready[LANE_NORMAL]);
	bool has_bulk = !list_is_empty(&t->ready[LANE_BULK]);

	if (!has_bulk || (has_normal && t->normal_in_row + 1 < t->limits.slot_cost)) {
		t->normal_in_row = has_bulk ? t->normal_in_row + 1 : 0;
		return LANE_NORMAL;
	}
	t->normal_in_row = 0;
	return LANE_BULK;
}

struct schedule_entry *schedule_take(struct schedule *s, struct instant now)
{
	struct schedule_destination *d;
	struct schedule_entry *e;
	struct transport *t;
	enum lane lane;

	wake_due(s, now);
	if (list_is_empty(&s->ready))
		return NULL;
	t = LIST_ENTRY(list_first(&s->ready), struct transport, ready_link);
	list_remove(&t->ready_link);
	list_add(&s->ready, &t->ready_link);
	lane = transport_lane(t);
	d = LIST_ENTRY(list_first(&t->ready[lane]), struct schedule_destination, ready_link[lane]);
	list_remove(&d->ready_link[lane]);
	list_add(&t->ready[lane], &d->ready_link[lane]);
	e = LIST_ENTRY(list_first(&d->todo[lane]), struct schedule_entry, link);
	list_remove(&e->link);
	e->state = ENTRY_BUSY;
	d->busy++;
	t->busy++;
	s->waiting--;
	s->busy++;
	if (t->limits.transport_delay.ns > 0)
		t->paused_until = instant_after(now, t->limits.transport_delay);
	destination_update(s, d);
	return e;
}

bool schedule_has_more(const struct schedule_entry *e)
{
	const struct schedule_destination *d = e->destination;

	return d->todo[LANE_NORMAL].next != &d->todo[LANE_NORMAL] || d->todo[LANE_BULK].next != &d->todo[LANE_BULK];
}

static double feedback_of(struct feedback f, unsigned window)
{
	switch (f.by) {
	case FEEDBACK_BY_CONCURRENCY:
		return f.value / window;
	case FEEDBACK_BY_ROOT:
		return f.value / sqrt(window);
	default:
		return f.value;
	}
}

/* Growth only while the window is used: idle capacity proves nothing. */
static void destination_succeeded(struct schedule_destination *d)
{
	const struct schedule_limits *l = &d->transport->limits;

	d->fail_cohorts = 0;
	if ((l->concurrency_limit && d->window >= l->concurrency_limit) || d->window >= d->busy + l->initial_concurrency)
		return;
	d->success += feedback_of(l->positive, d->window);
	while (d->success >= 1) {
		d->window++;
		d->success -= 1;
		d->failure = 0;
	}
	if (l->concurrency_limit && d->window > l->concurrency_limit)
		d->window = l->concurrency_limit;
}

static void destination_die(struct schedule *s, struct schedule_destination *d, struct str reason, struct instant now)
{
	char *copy = str_cstr(str_cut(reason, 0, REASON_SIZE_LIMIT));

	free((void *)d->reason.ptr);
	d->reason = str_of(copy);
	d->state = DESTINATION_DEAD;
	d->until = instant_after(now, s->dead_time);
	list_add_timed(&s->dead, d);
	for (int lane = 0; lane < LANE_COUNT; lane++)
		LIST_EACH(&d->todo[lane], it) {
			LIST_ENTRY(it, struct schedule_entry, link)->state = ENTRY_DROPPED;
			list_remove(it);
			list_add(&s->dropped, it);
			s->waiting--;
			d->dropped++;
		}
}

/* The first failure lowers the window at once; the counter then has to earn the next step. */
static void destination_shrink(struct schedule_destination *d)
{
	d->failure -= feedback_of(d->transport->limits.negative, d->window);
	while (d->failure < 0 && d->window > 0) {
		d->window--;
		d->failure += 1;
		d->success = 0;
	}
	if (d->window < 1)
		d->window = 1;
}

static void destination_failed(struct schedule *s, struct schedule_destination *d, struct str reason, struct instant now)
{
	if (d->state == DESTINATION_DEAD)
		return;
	d->fail_cohorts += 1.0 / d->window;
	if (d->fail_cohorts > d->transport->limits.failed_cohort_limit)
		destination_die(s, d, reason, now);
	else
		destination_shrink(d);
}

static void entry_release(struct schedule *s, struct schedule_entry *e)
{
	struct schedule_destination *d = e->destination;

	d->busy--;
	d->transport->busy--;
	s->busy--;
	e->state = ENTRY_IDLE;
	e->destination = NULL;
}

void schedule_done(struct schedule *s, struct schedule_entry *e, enum verdict verdict, struct str reason, struct instant now)
{
	struct schedule_destination *d = e->destination;
	struct duration delay = d->transport->limits.destination_delay;

	if (verdict == VERDICT_GOOD)
		destination_succeeded(d);
	else if (verdict == VERDICT_BUSY)
		destination_shrink(d);
	else if (verdict == VERDICT_BAD)
		destination_failed(s, d, reason, now);
	entry_release(s, e);
	if (delay.ns > 0 && d->state == DESTINATION_OPEN) {
		d->state = DESTINATION_PAUSED;
		d->until = instant_after(now, delay);
		list_add_timed(&d->transport->paused, d);
	}
	destination_update(s, d);
}

void schedule_again(struct schedule *s, struct schedule_entry *e)
{
	struct schedule_destination *d = e->destination;
	bool is_bulk = e->is_bulk && d->transport->limits.slot_cost > 1;

	entry_release(s, e);
	e->destination = d;
	if (d->state == DESTINATION_DEAD) {
		e->state = ENTRY_DROPPED;
		list_add(&s->dropped, &e->link);
		d->dropped++;
	} else {
		e->state = ENTRY_WAITING;
		list_add_first(&d->todo[is_bulk ? LANE_BULK : LANE_NORMAL], &e->link);
		s->waiting++;
	}
	destination_update(s, d);
}

void schedule_remove(struct schedule *s, struct schedule_entry *e)
{
	struct schedule_destination *d = e->destination;

	if (e->state != ENTRY_WAITING && e->state != ENTRY_DROPPED)
		return;
	list_remove(&e->link);
	if (e->state == ENTRY_DROPPED)
		d->dropped--;
	else
		s->waiting--;
	e->state = ENTRY_IDLE;
	e->destination = NULL;
	destination_update(s, d);
}

struct schedule_entry *schedule_take_dropped(struct schedule *s, struct str *ret_reason)
{
	struct schedule_entry *e;

	if (list_is_empty(&s->dropped))
		return NULL;
	e = LIST_ENTRY(list_first(&s->dropped), struct schedule_entry, link);
	*ret_reason = e->destination->reason;
	schedule_remove(s, e);
	return e;
}

void schedule_revive(struct schedule *s)
{
	LIST_EACH(&s->dead, it)
		destination_open(s, LIST_ENTRY(it, struct schedule_destination, state_link));
}

static struct instant earlier(struct instant a, struct instant b)
{
	return instant_is_before(a, b) ? a : b;
}

static struct instant list_time(const struct list *head)
{
	if (head->next == head)
		return INSTANT_NEVER;
	return LIST_ENTRY(head->next, const struct schedule_destination, state_link)->until;
}

struct instant schedule_wakeup(const struct schedule *s)
{
	struct instant at = list_time(&s->dead);

	for (const struct list *it = s->all.next; it != &s->all; it = it->next) {
		const struct transport *t = LIST_ENTRY(it, const struct transport, all_link);

		at = earlier(at, list_time(&t->paused));
		if (t->paused_until.ns)
			at = earlier(at, t->paused_until);
	}
	return at;
}

size_t schedule_waiting_count(const struct schedule *s)
{
	return s->waiting;
}

size_t schedule_busy_count(const struct schedule *s)
{
	return s->busy;
}

size_t schedule_destination_count(const struct schedule *s)
{
	return s->destination_count;
}

int schedule_window(const struct schedule *s, struct str transport, struct str destination)
{
	const struct transport *t = map_find(&s->transports, transport);
	const struct schedule_destination *d = t ? map_find(&t->destinations, destination) : NULL;

	if (!d)
		return -ENOENT;
	return d->state == DESTINATION_DEAD ? 0 : (int)destination_window(d);
}

int feedback_parse(struct str text, struct feedback *ret_feedback)
{
	struct feedback f = {FEEDBACK_CONSTANT, 0};
	struct str number = text;
	struct str by;
	char copy[32];
	char *end;

	if (str_split(text, '/', &number, &by)) {
		by = str_trim(by);
		if (str_eq_nocase(by, STR("concurrency")))
			f.by = FEEDBACK_BY_CONCURRENCY;
		else if (str_eq_nocase(by, STR("sqrt_concurrency")))
			f.by = FEEDBACK_BY_ROOT;
		else
			return -EINVAL;
	}
	number = str_trim(number);
	if (str_is_empty(number) || number.len >= sizeof copy || str_find_any(number, "xXnNiI") < number.len)
		return -EINVAL;
	memcpy(copy, number.ptr, number.len);
	copy[number.len] = '\0';
	f.value = strtod(copy, &end);
	if (*end || !(f.value >= 0 && f.value <= 1))
		return -EINVAL;
	*ret_feedback = f;
	return 0;
}
