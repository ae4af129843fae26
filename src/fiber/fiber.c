/* SPDX-License-Identifier: Apache-2.0 */
/* Fibers: start, wait, wake, cancel, join; and the lists they wait in. */
#include <errno.h>

#include "fiber/fiber_internal.h"

enum { TRIM_AFTER_S = 2 };

static void fiber_on_timer(struct timer *t)
{
	struct fiber *f = CONTAINER_OF(t, struct fiber, timer);

	if (f->state != FIBER_WAITING)
		return;
	if (!instant_is_before(loop.now, f->deadline))
		fiber_wake(f, -ETIMEDOUT);
	else if (f->deadline.ns != INSTANT_NEVER.ns)
		timer_start(t, f->deadline, fiber_on_timer);
}

static void fiber_main(void)
{
	struct fiber *f = loop.current;

	context_entered(&f->context, &loop.context);
	f->fn(f->arg);
	f->state = FIBER_ENDED;
	timer_stop(&f->timer);
	if (f->joiner)
		fiber_wake(f->joiner, 0);
	context_switch(&f->context, &loop.context, true);
	die("fiber %s ran on after its end", f->name);
}

struct fiber *fiber_start(const char *name, fiber_fn *fn, void *arg)
{
	struct stack stack = stack_get();
	uintptr_t top = ((uintptr_t)stack.low + stack.size - sizeof(struct fiber)) & ~(uintptr_t)63;
	struct fiber *f = (struct fiber *)top; /* NOLINT: a place inside the stack */

	*f = (struct fiber){.name = name, .fn = fn, .arg = arg, .state = FIBER_READY};
	context_init(&f->context, stack, f, fiber_main);
	list_add(&loop.fibers, &f->all);
	list_add(&loop.ready, &f->link);
	loop.fiber_count++;
	return f;
}

static void fiber_release(struct fiber *f)
{
	struct stack stack = f->context.stack;

	list_remove(&f->all);
	context_done(&f->context);
	stack_put(stack);
}

void fiber_run_ready(void)
{
	struct list batch;

	if (list_is_empty(&loop.ready))
		return;
	batch = loop.ready;
	batch.next->prev = batch.prev->next = &batch;
	list_init(&loop.ready);
	while (!list_is_empty(&batch)) {
		struct fiber *f = LIST_ENTRY(batch.next, struct fiber, link);

		list_remove(&f->link);
		f->state = FIBER_RUNNING;
		loop.current = f;
		context_switch(&loop.context, &f->context, false);
		loop.current = NULL;
		if (f->state == FIBER_ENDED) {
			loop.fiber_count--;
			if (!f->is_joinable)
				fiber_release(f);
		}
	}
}

int fiber_wait(struct instant deadline, bool can_cancel)
{
	struct fiber *f = loop.current;

	if (!f)
		die("a wait outside of a fiber");
	if (can_cancel && f->is_cancelled)
		return -ECANCELED;
	f->state = FIBER_WAITING;
	f->can_cancel = can_cancel;
	f->deadline = deadline;
	f->waits_since = loop.now;
	f->is_trimmed = false;
	if (deadline.ns != INSTANT_NEVER.ns && (!f->timer.heap_at || instant_is_before(deadline, f->timer.at)))
		timer_start(&f->timer, deadline, fiber_on_timer);
	context_switch(&f->context, &loop.context, false);
	return f->result;
}

void fiber_wake(struct fiber *f, int result)
{
	if (f->state != FIBER_WAITING)
		return;
	f->state = FIBER_READY;
	f->result = result;
	list_remove(&f->link); /* from the wait_list it may stand in */
	list_add(&loop.ready, &f->link);
}

void fiber_sweep(struct timer *t)
{
	struct instant before = {loop.now.ns - TRIM_AFTER_S * NS_PER_S};

	LIST_EACH(&loop.fibers, it) {
		struct fiber *f = LIST_ENTRY(it, struct fiber, all);

		if (f->state == FIBER_WAITING && !f->is_trimmed && instant_is_before(f->waits_since, before)) {
			stack_trim(f->context.stack, f->context.sp);
			f->is_trimmed = true;
		}
	}
	timer_start(t, instant_after(loop.now, duration_s(TRIM_AFTER_S)), fiber_sweep);
}

struct fiber *fiber_self(void)
{
	return loop.current;
}

const char *fiber_name(const struct fiber *f)
{
	return f->name;
}

size_t fiber_count(void)
{
	return loop.fiber_count;
}

void fiber_cancel(struct fiber *f)
{
	f->is_cancelled = true;
	if (f->can_cancel)
		fiber_wake(f, -ECANCELED);
}

bool fiber_is_cancelled(void)
{
	return loop.current && loop.current->is_cancelled;
}

void fiber_make_joinable(struct fiber *f)
{
	f->is_joinable = true;
}

void fiber_join(struct fiber *f)
{
	f->joiner = loop.current;
	while (f->state != FIBER_ENDED)
		(void)fiber_wait(INSTANT_NEVER, false);
	fiber_release(f);
}

int fiber_yield(void)
{
	struct fiber *f = loop.current;

	f->state = FIBER_READY;
	f->result = f->is_cancelled ? -ECANCELED : 0;
	list_add(&loop.ready, &f->link);
	context_switch(&f->context, &loop.context, false);
	return f->result;
}

int fiber_sleep(struct duration wait)
{
	int err = fiber_wait(clock_deadline(wait), true);

	return err == -ETIMEDOUT ? 0 : err;
}

void wait_list_init(struct wait_list *wl)
{
	list_init(&wl->waiters);
}

int wait_list_wait(struct wait_list *wl, struct instant deadline)
{
	struct fiber *f = loop.current;

	if (f->is_cancelled)
		return -ECANCELED;
	list_add(&wl->waiters, &f->link);
	return fiber_wait(deadline, true);
}

void wait_list_wait_always(struct wait_list *wl)
{
	list_add(&wl->waiters, &loop.current->link);
	(void)fiber_wait(INSTANT_NEVER, false);
}

bool wait_list_wake_one(struct wait_list *wl)
{
	struct list *first = list_first(&wl->waiters);

	if (!first)
		return false;
	fiber_wake(LIST_ENTRY(first, struct fiber, link), 0);
	return true;
}

void wait_list_wake_all(struct wait_list *wl)
{
	while (wait_list_wake_one(wl))
		;
}

bool wait_list_is_empty(const struct wait_list *wl)
{
	return list_is_empty(&wl->waiters);
}
