/* SPDX-License-Identifier: Apache-2.0 */
/* Timers: a binary heap by time. heap[1] is the next; a timer knows its place, so stopping is cheap. */
#include "fiber/fiber_internal.h"

static void slot_set(size_t at, struct timer_slot slot)
{
	loop.heap[at] = slot;
	slot.timer->heap_at = at;
}

static void sift_up(size_t at, struct timer_slot slot)
{
	while (at > 1 && instant_is_before(slot.at, loop.heap[at / 2].at)) {
		slot_set(at, loop.heap[at / 2]);
		at /= 2;
	}
	slot_set(at, slot);
}

static void sift_down(size_t at, struct timer_slot slot)
{
	for (;;) {
		size_t child = 2 * at;

		if (child > loop.heap_count)
			break;
		if (child < loop.heap_count && instant_is_before(loop.heap[child + 1].at, loop.heap[child].at))
			child++;
		if (!instant_is_before(loop.heap[child].at, slot.at))
			break;
		slot_set(at, loop.heap[child]);
		at = child;
	}
	slot_set(at, slot);
}

void timer_start(struct timer *t, struct instant at, void (*fn)(struct timer *t))
{
	timer_stop(t);
	t->at = at;
	t->fn = fn;
	if (loop.heap_count + 1 >= loop.heap_size) {
		loop.heap_size = loop.heap_size ? 2 * loop.heap_size : 64;
		loop.heap = mem_resize(loop.heap, loop.heap_size * sizeof(*loop.heap));
	}
	sift_up(++loop.heap_count, (struct timer_slot){at, t});
}

void timer_stop(struct timer *t)
{
	size_t at = t->heap_at;

	if (!at)
		return;
	t->heap_at = 0;

	struct timer_slot last = loop.heap[loop.heap_count--];

	if (last.timer == t)
		return;
	if (at > 1 && instant_is_before(last.at, loop.heap[at / 2].at))
		sift_up(at, last);
	else
		sift_down(at, last);
}

void timer_run_due(struct instant now)
{
	while (loop.heap_count && !instant_is_before(now, loop.heap[1].at)) {
		struct timer *t = loop.heap[1].timer;

		timer_stop(t);
		t->fn(t);
	}
}
