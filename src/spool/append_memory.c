/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for bodies in flight: one bound a process, shared by all messages in the making. Who finds no
 * more waits in line. Once more than half is in use a fiber asks the largest shares to move elsewhere (to a
 * file), so that clients who stop in the middle cannot keep it from the others. Once somebody had to wait,
 * smaller shares are asked as well until half is free again: the next ones shall not wait, too. Who cannot
 * move has to go while somebody waits.
 */
#include <errno.h>

#include "spool/append_internal.h"

enum {
	LARGE_SHARE = 128 << 10, /* asked once half is in use */
	SMALL_SHARE = 4 << 10,   /* never asked */
	YOUNG_MS = 1000,         /* a small share that came later is not asked: its message is whole soon */
	CANNOT_MOVE_S = 10,      /* so long a share that others wait for may hold out */
	LOOK_AGAIN_MS = 200,
};

struct memory_waiter {
	struct list link;
	size_t size;
	bool is_served;
	struct wait_list served;
};

static bool is_over_half(const struct appender *ap)
{
	return ap->memory_used > ap->memory_max / 2;
}

static void add_use(struct appender *ap, size_t size)
{
	ap->memory_used += size;
	if (is_over_half(ap))
		wait_list_wake_all(&ap->memory_short);
}

static bool fits(const struct appender *ap, size_t size)
{
	return size <= ap->memory_max - size_min(ap->memory_used, ap->memory_max);
}

/* First come, first served. */
static void serve_waiters(struct appender *ap)
{
	LIST_EACH(&ap->memory_waiters, it) {
		struct memory_waiter *w = LIST_ENTRY(it, struct memory_waiter, link);

		if (!fits(ap, w->size))
			return;
		list_remove(&w->link);
		w->is_served = true;
		add_use(ap, w->size);
		wait_list_wake_all(&w->served);
	}
}

void appender_set_memory(struct appender *ap, size_t bytes)
{
	ap->memory_max = bytes;
	serve_waiters(ap);
}

void append_share_init(struct append_share *s, struct appender *ap, append_move_fn *move)
{
	*s = (struct append_share){.appender = ap, .move = move, .born = clock_now()};
	wait_list_init(&s->moved);
	list_add(&ap->shares, &s->link);
}

void append_share_begin(struct append_share *s)
{
	while (s->is_moving)
		wait_list_wait_always(&s->moved);
	s->is_busy = true;
}

void append_share_end(struct append_share *s)
{
	s->is_busy = false;
}

void append_share_done(struct append_share *s)
{
	append_share_begin(s);
	append_share_shrink(s, 0);
	list_remove(&s->link);
}

/* Stands in line; the share may be moved meanwhile. */
static int wait_for_memory(struct append_share *s, size_t size, struct instant deadline)
{
	struct appender *ap = s->appender;
	struct memory_waiter w = {.size = size};
	bool was_busy = s->is_busy;
	int err = 0;

	wait_list_init(&w.served);
	list_add(&ap->memory_waiters, &w.link);
	wait_list_wake_all(&ap->memory_short);
	s->is_busy = false;
	while (!err && !w.is_served)
		err = wait_list_wait(&w.served, deadline);
	list_remove(&w.link);
	if (was_busy)
		append_share_begin(s);
	if (!w.is_served)
		serve_waiters(ap);
	return w.is_served ? 0 : err;
}

int append_share_grow(struct append_share *s, size_t size, struct instant deadline)
{
	struct appender *ap = s->appender;
	size_t more = size - s->size;
	int err = 0;

	if (more > ap->memory_max)
		return -EMSGSIZE;
	if (list_is_empty(&ap->memory_waiters) && fits(ap, more))
		add_use(ap, more);
	else if (instant_is_before(clock_now(), deadline))
		err = wait_for_memory(s, more, deadline);
	else
		err = -ETIMEDOUT;
	if (!err)
		s->size += more;
	return err;
}

void append_share_shrink(struct append_share *s, size_t size)
{
	struct appender *ap = s->appender;

	ap->memory_used -= size_min(s->size - size, ap->memory_used);
	s->size = size;
	serve_waiters(ap);
}

/* The largest share that may be asked now. */
static struct append_share *share_to_move(struct appender *ap)
{
	struct instant now = clock_now();
	struct append_share *found = NULL;

	LIST_EACH(&ap->shares, it) {
		struct append_share *s = LIST_ENTRY(it, struct append_share, link);
		bool is_old = duration_between(s->born, now).ns > duration_ms(YOUNG_MS).ns;
		size_t least = ap->was_memory_short && is_old ? SMALL_SHARE : LARGE_SHARE;

		if (s->is_busy || s->size <= least || instant_is_before(now, s->not_before))
			continue;
		if (!found || s->size > found->size)
			found = s;
	}
	return found;
}

static void move_share(struct appender *ap, struct append_share *s)
{
	bool must =
		!list_is_empty(&ap->memory_waiters) && duration_between(s->born, clock_now()).ns > duration_s(CANNOT_MOVE_S).ns;

	s->is_moving = true;
	if (!s->move(s, must))
		s->not_before = clock_deadline(duration_s(1));
	s->is_moving = false;
	wait_list_wake_all(&s->moved);
}

void append_memory_main(void *arg)
{
	struct appender *ap = arg;
	int err = 0;

	while (!err) {
		struct append_share *s;

		ap->was_memory_short = is_over_half(ap) && (ap->was_memory_short || !list_is_empty(&ap->memory_waiters));
		s = is_over_half(ap) ? share_to_move(ap) : NULL;
		if (s)
			move_share(ap, s);
		if (fiber_is_cancelled())
			err = -ECANCELED;
		else if (!is_over_half(ap))
			err = wait_list_wait(&ap->memory_short, INSTANT_NEVER);
		else if (!s)
			err = fiber_sleep(duration_ms(LOOK_AGAIN_MS));
	}
}
