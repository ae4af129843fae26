/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helper threads for what blocks. A fiber hands in a job that lies on its stack and sleeps;
 * a thread runs it, puts it on the done list and, if the list was empty, rings an eventfd;
 * the loop then wakes the owners.
 */
#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fiber/fiber_internal.h"

struct job {
	struct list link;
	void (*fn)(void *arg);
	void *arg;
	struct fiber *owner;
	bool is_done;
};

enum { THREADS_MAX = 64 };

static struct {
	pthread_mutex_t lock;
	pthread_cond_t has_work;
	struct list waiting;  /* jobs, under the lock */
	struct list done;     /* jobs, under the lock */
	size_t waiting_count; /* under the lock */
	bool is_ending;       /* under the lock */
	size_t idle;          /* threads that wait for a job, under the lock */
	pthread_t threads[THREADS_MAX];
	size_t thread_count;
	size_t thread_max;
	bool is_open;
} work = {.lock = PTHREAD_MUTEX_INITIALIZER, .has_work = PTHREAD_COND_INITIALIZER, .thread_max = 8};

void fiber_work_set_threads(size_t count)
{
	work.thread_max = size_min(size_max(count, 1), THREADS_MAX);
}

static struct job *job_take(void)
{
	struct list *first;

	pthread_mutex_lock(&work.lock);
	work.idle++;
	while (!(first = list_first(&work.waiting)) && !work.is_ending)
		pthread_cond_wait(&work.has_work, &work.lock);
	work.idle--;
	if (first) {
		list_remove(first);
		work.waiting_count--;
	}
	pthread_mutex_unlock(&work.lock);
	return first ? LIST_ENTRY(first, struct job, link) : NULL;
}

static void job_finish(struct job *j)
{
	static const uint64_t one = 1;

	pthread_mutex_lock(&work.lock);
	bool was_empty = list_is_empty(&work.done);
	list_add(&work.done, &j->link);
	pthread_mutex_unlock(&work.lock);
	/* Edge-triggered, so nobody has to read it. */
	if (was_empty && write(loop.bell_fd, &one, sizeof(one)) < 0)
		die("cannot wake the loop: %s", strerror(errno));
}

static void *thread_main(void *unused)
{
	struct job *j;

	while ((j = job_take())) {
		j->fn(j->arg);
		job_finish(j);
	}
	return NULL;
}

void work_collect(void)
{
	struct list done;

	list_init(&done);
	pthread_mutex_lock(&work.lock);
	while (!list_is_empty(&work.done)) {
		struct list *first = list_first(&work.done);

		list_remove(first);
		list_add(&done, first);
	}
	pthread_mutex_unlock(&work.lock);
	LIST_EACH(&done, it) {
		struct job *j = LIST_ENTRY(it, struct job, link);

		list_remove(&j->link);
		j->is_done = true;
		fiber_wake(j->owner, 0);
	}
}

static void work_open(void)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = &loop.bell_fd};

	list_init(&work.waiting);
	list_init(&work.done);
	work.is_ending = false;
	loop.bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop.bell_fd < 0 || epoll_ctl(loop.epoll_fd, EPOLL_CTL_ADD, loop.bell_fd, &event))
		die("cannot create an event descriptor: %s", strerror(errno));
	work.is_open = true;
}

/* One more thread; without any signal, which are the loop's business. */
static void thread_add(void)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int err = pthread_create(&work.threads[work.thread_count], NULL, thread_main, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!err)
		work.thread_count++;
	else if (!work.thread_count)
		die("cannot start a thread: %s", strerror(err));
}

int fiber_work(void (*fn)(void *arg), void *arg)
{
	struct job j = {.fn = fn, .arg = arg, .owner = loop.current};

	if (!work.is_open)
		work_open();
	pthread_mutex_lock(&work.lock);
	/* One that was rung for an earlier job, and has not taken it yet, is not free. */
	bool has_idle = work.idle > work.waiting_count;

	list_add(&work.waiting, &j.link);
	work.waiting_count++;
	pthread_mutex_unlock(&work.lock);
	/* Not under the lock, for which the thread would have to wait again. */
	pthread_cond_signal(&work.has_work);
	if (!has_idle && work.thread_count < work.thread_max)
		thread_add();
	while (!j.is_done)
		(void)fiber_wait(INSTANT_NEVER, false);
	return fiber_is_cancelled() ? -ECANCELED : 0;
}

void work_done(void)
{
	if (!work.is_open)
		return;
	pthread_mutex_lock(&work.lock);
	work.is_ending = true;
	pthread_cond_broadcast(&work.has_work);
	pthread_mutex_unlock(&work.lock);
	while (work.thread_count > 0)
		pthread_join(work.threads[--work.thread_count], NULL);
	close(loop.bell_fd);
	work.is_open = false;
}
