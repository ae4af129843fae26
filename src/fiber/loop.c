/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop. One round: run what is ready, run the hooks, ask epoll, run due timers.
 * Events come before timers, so that data that arrived in time wins over its deadline.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "fiber/fiber_internal.h"

enum { EVENTS_A_ROUND = 256, PASSES_A_ROUND = 8, MEASURE_MS = 20, BUSY_PERCENT = 80 };

struct loop loop = {.epoll_fd = -1};

void loop_init(void)
{
	static const struct loop empty;

	loop = empty;
	list_init(&loop.fibers);
	list_init(&loop.ready);
	loop.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop.epoll_fd < 0)
		die("cannot create an epoll descriptor: %s", strerror(errno));
	loop.now = loop.measured_at = clock_now();
	loop.used = clock_thread();
	timer_start(&loop.sweep, instant_after(loop.now, duration_s(2)), fiber_sweep);
}

static void watch_on_event(struct watch *w, uint32_t events)
{
	/* Level, not edge: after a hang-up no event comes any more, but reads and writes never block either. */
	w->is_read_ended |= !!(events & (EPOLLRDHUP | EPOLLHUP));
	w->is_write_ended |= !!(events & EPOLLHUP);
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
		w->ready |= 1U << WATCH_READ;
		if (w->reader)
			fiber_wake(w->reader, 0);
	}
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) {
		w->ready |= 1U << WATCH_WRITE;
		if (w->writer)
			fiber_wake(w->writer, 0);
	}
}

/* Milliseconds until something is due, rounded up. */
static int loop_wait_ms(void)
{
	if (!list_is_empty(&loop.ready) || loop.is_stopped)
		return 0;
	if (!loop.heap_count)
		return -1;

	int64_t ns = loop.heap[1].at.ns - clock_now().ns;

	if (ns <= 0)
		return 0;
	return ns > 3600 * NS_PER_S ? 3600 * 1000 : (int)((ns + 999999) / 1000000);
}

static void loop_ask_epoll(int wait_ms)
{
	static struct epoll_event events[EVENTS_A_ROUND];
	int count = epoll_wait(loop.epoll_fd, events, EVENTS_A_ROUND, wait_ms);

	if (count < 0 && errno != EINTR)
		die("epoll_wait: %s", strerror(errno));
	for (int i = 0; i < count; i++) {
		if (events[i].data.ptr == &loop.bell_fd)
			work_collect();
		else
			watch_on_event(events[i].data.ptr, events[i].events);
	}
}

/* By the processor time of this thread: while others have the processor, more processes would not help. */
static void measure(void)
{
	int64_t span = loop.now.ns - loop.measured_at.ns, used;

	if (span < duration_ms(MEASURE_MS).ns)
		return;
	used = clock_thread().ns - loop.used.ns;
	loop.is_busy = used * 100 > span * BUSY_PERCENT;
	loop.used.ns += used;
	loop.measured_at = loop.now;
}

bool loop_is_busy(void)
{
	return loop.is_busy;
}

static void loop_round(void)
{
	/* Fibers that wake each other need no system call; yet nobody outside waits for long. */
	for (int i = 0; i < PASSES_A_ROUND && !list_is_empty(&loop.ready); i++)
		fiber_run_ready();
	for (size_t i = 0; i < loop.hook_count; i++)
		loop.hooks[i].fn(loop.hooks[i].arg);
	if (!loop.fiber_count && list_is_empty(&loop.ready))
		return;
	loop_ask_epoll(loop_wait_ms());
	loop.now = clock_now();
	measure();
	timer_run_due(loop.now);
}

void loop_run(void)
{
	loop.is_stopped = false;
	while (!loop.is_stopped && loop.fiber_count)
		loop_round();
}

void loop_stop(void)
{
	loop.is_stopped = true;
}

void loop_add_hook(loop_hook_fn *fn, void *arg)
{
	if (loop.hook_count == HOOK_MAX)
		die("more than %d loop hooks", HOOK_MAX);
	loop.hooks[loop.hook_count++] = (struct hook){fn, arg};
}

void loop_done(void)
{
	LIST_EACH(&loop.fibers, it)
		fiber_cancel(LIST_ENTRY(it, struct fiber, all));
	loop_run();
	work_done();
	free(loop.heap);
	loop.heap = NULL;
	loop.heap_count = loop.heap_size = 0;
	close(loop.epoll_fd);
	loop.epoll_fd = -1;
}

void watch_init(struct watch *w, int fd)
{
	*w = (struct watch){.fd = fd};
}

void watch_init_listener(struct watch *w, int fd)
{
	*w = (struct watch){.fd = fd, .is_listener = true};
}

/*
 * Asks the loop for events of this kind, if that was not done before. Not for both kinds at once: a
 * socket that was just opened has room, and the loop would wake up at once only to be told.
 */
static int watch_ask(struct watch *w, enum watch_for what)
{
	uint32_t wanted = what == WATCH_WRITE ? EPOLLOUT : w->is_listener ? EPOLLIN | EPOLLEXCLUSIVE : EPOLLIN | EPOLLRDHUP;
	struct epoll_event event = {.events = w->events | wanted | EPOLLET, .data.ptr = w};

	if ((w->events & wanted) == wanted)
		return 0;
	if (epoll_ctl(loop.epoll_fd, w->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, w->fd, &event))
		return -errno;
	w->events |= wanted;
	return 0;
}

int watch_wait(struct watch *w, enum watch_for what, struct instant deadline)
{
	uint32_t bit = 1U << what;
	int err = watch_ask(w, what);

	if (err)
		return err;
	if (!(w->ready & bit) && !(what == WATCH_READ ? w->is_read_ended : w->is_write_ended)) {
		struct fiber **waiter = what == WATCH_READ ? &w->reader : &w->writer;

		*waiter = loop.current;
		err = fiber_wait(deadline, true);
		*waiter = NULL;
		if (err)
			return err;
	}
	w->ready &= ~bit;
	return fiber_is_cancelled() ? -ECANCELED : 0;
}

void watch_done(struct watch *w)
{
	if (w->events)
		epoll_ctl(loop.epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	*w = (struct watch){.fd = -1};
}

void watch_close(struct watch *w)
{
	/* The kernel forgets what it watched with the last descriptor of it. */
	close(w->fd);
	*w = (struct watch){.fd = -1};
}
