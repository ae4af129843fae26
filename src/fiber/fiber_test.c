/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "fiber/fiber.h"

/* Runs fn(arg) on a fiber until no fiber is left. */
static void run(fiber_fn *fn, void *arg)
{
	loop_init();
	fiber_start("test", fn, arg);
	loop_run();
	CHECK_INT(fiber_count(), 0);
	loop_done();
}

struct crowd {
	struct wait_list gate;
	size_t arrived;
	size_t passed;
};

static void crowd_member(void *arg)
{
	struct crowd *c = arg;

	c->arrived++;
	if (!wait_list_wait(&c->gate, clock_deadline(duration_s(600))))
		c->passed++;
}

#ifdef __SANITIZE_THREAD__
enum { CROWD = 2000 }; /* ThreadSanitizer knows at most 8128 */
#else
enum { CROWD = 20000 };
#endif

static void crowd_leader(void *arg)
{
	struct crowd *c = arg;

	for (int i = 0; i < CROWD; i++)
		CHECK(fiber_start("member", crowd_member, c));
	fiber_yield();
	CHECK_INT(c->arrived, CROWD);
	CHECK_INT(fiber_count(), CROWD + 1);
	wait_list_wake_all(&c->gate);
	CHECK(wait_list_is_empty(&c->gate));
	fiber_yield();
	CHECK_INT(c->passed, CROWD);
}

TEST(twenty_thousand_fibers_wait_and_are_woken)
{
	struct crowd c = {0};

	wait_list_init(&c.gate);
	run(crowd_leader, &c);
	CHECK_INT(c.passed, CROWD);
}

static void deep(int depth, char *sum)
{
	char volatile page[1024];

	memset((char *)page, depth, sizeof(page));
	if (depth > 0)
		deep(depth - 1, sum);
	*sum = (char)(*sum + page[depth]);
}

static void use_stack(void *arg)
{
	for (int i = 0; i < 3; i++) {
		deep(40, arg);
		fiber_yield();
	}
}

TEST(stacks_are_deep_enough_and_keep_their_contents_over_a_switch)
{
	char sums[2] = {0};

	loop_init();
	fiber_start("a", use_stack, &sums[0]);
	fiber_start("b", use_stack, &sums[1]);
	loop_run();
	loop_done();
	CHECK_INT(sums[0], sums[1]);
	CHECK_INT(sums[0], (char)(3 * 40 * 41 / 2));
}

static void look_idle(void *arg)
{
	CHECK_INT(fiber_sleep(duration_ms(50)), 0);
	CHECK(!loop_is_busy());
}

TEST(what_a_thread_did_before_its_loop_does_not_make_it_busy)
{
	struct duration until = {clock_thread().ns + duration_ms(100).ns};

	while (clock_thread().ns < until.ns)
		;
	run(look_idle, NULL);
}

struct order {
	struct instant begin;
	char text[16];
	size_t len;
};

static struct order order;

static void sleeper(void *arg)
{
	const char *name = arg;
	struct wait_list wl;

	wait_list_init(&wl);
	/* From one beginning for all: a machine that is busy must not change their order. */
	CHECK_INT(wait_list_wait(&wl, instant_after(order.begin, duration_ms((name[0] - 'a') * 5))), -ETIMEDOUT);
	order.text[order.len++] = name[0];
}

TEST(deadlines_come_in_their_order)
{
	order = (struct order){.begin = clock_now()};
	loop_init();
	fiber_start("c", sleeper, (void *)"c");
	fiber_start("a", sleeper, (void *)"a");
	fiber_start("d", sleeper, (void *)"d");
	fiber_start("b", sleeper, (void *)"b");
	loop_run();
	loop_done();
	CHECK_STR(str_n(order.text, order.len), STR("abcd"));
}

static void wait_in_vain(void *arg)
{
	struct wait_list wl;

	wait_list_init(&wl);
	/* A later deadline first: the earlier one must not be missed, nor the later one shortened. */
	CHECK_INT(wait_list_wait(&wl, clock_deadline(duration_ms(20))), -ETIMEDOUT);
	CHECK(wait_list_is_empty(&wl));
	struct instant deadline = clock_deadline(duration_ms(5));
	CHECK_INT(wait_list_wait(&wl, deadline), -ETIMEDOUT);
	CHECK(!instant_is_before(clock_now(), deadline));
}

TEST(a_wait_in_vain_ends_at_its_deadline)
{
	run(wait_in_vain, NULL);
}

static void wait_for_ever(void *arg)
{
	int *results = arg;
	struct wait_list wl;

	wait_list_init(&wl);
	results[0] = wait_list_wait(&wl, INSTANT_NEVER);
	results[1] = fiber_sleep(duration_s(1000));
	results[2] = fiber_yield();
	results[3] = fiber_is_cancelled();
}

static void canceller(void *arg)
{
	struct fiber *f = fiber_start("victim", wait_for_ever, arg);

	fiber_make_joinable(f);
	fiber_yield();
	fiber_cancel(f);
	fiber_join(f);
}

TEST(a_cancelled_fiber_leaves_all_waits)
{
	int results[4] = {0};

	run(canceller, results);
	CHECK_INT(results[0], -ECANCELED);
	CHECK_INT(results[1], -ECANCELED);
	CHECK_INT(results[2], -ECANCELED);
	CHECK_INT(results[3], 1);
}

static void short_life(void *arg)
{
	*(int *)arg = 7;
}

static void joins_the_dead(void *arg)
{
	int value = 0;
	struct fiber *f = fiber_start("short", short_life, &value);

	fiber_make_joinable(f);
	CHECK_INT(fiber_sleep(duration_ms(1)), 0);
	CHECK_INT(value, 7);
	CHECK_INT(fiber_count(), 1);
	fiber_join(f);
}

TEST(a_fiber_that_has_ended_can_be_joined)
{
	run(joins_the_dead, NULL);
}

static void double_it(void *arg)
{
	int *n = arg;

	usleep(1000);
	*n *= 2;
}

static void works(void *arg)
{
	int n = 21;

	CHECK_INT(fiber_work(double_it, &n), 0);
	CHECK_INT(n, 42);
	++*(int *)arg;
}

TEST(blocking_work_runs_beside_the_loop)
{
	int done = 0;

	loop_init();
	for (int i = 0; i < 50; i++)
		fiber_start("worker", works, &done);
	loop_run();
	loop_done();
	CHECK_INT(done, 50);
}

static void works_cancelled(void *arg)
{
	int n = 1;

	CHECK_INT(fiber_work(double_it, &n), -ECANCELED);
	CHECK_INT(n, 2);
	++*(int *)arg;
}

TEST(cancelled_work_is_waited_for)
{
	int done = 0;

	loop_init();
	fiber_cancel(fiber_start("worker", works_cancelled, &done));
	loop_run();
	loop_done();
	CHECK_INT(done, 1);
}

enum { MEETING_S = 20 };

static struct {
	sem_t came[2];
	size_t met;
} meeting;

/* Says that it is there and waits for the other. */
static void meet(void *arg)
{
	size_t own = *(size_t *)arg;
	struct timespec deadline;

	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += MEETING_S;
	sem_post(&meeting.came[own]);
	*(size_t *)arg = sem_timedwait(&meeting.came[1 - own], &deadline) ? 2 : own;
}

static void goes_to_the_meeting(void *arg)
{
	size_t own = (size_t)(uintptr_t)arg, wanted = own;

	CHECK_INT(fiber_work(meet, &own), 0);
	meeting.met += own == wanted;
}

/* One thread is idle when both come: it must not be counted on twice. */
static void holds_a_meeting(void *arg)
{
	int n = 1;

	CHECK_INT(fiber_work(double_it, &n), 0);
	CHECK_INT(fiber_sleep(duration_ms(20)), 0);
	for (size_t i = 0; i < 2; i++)
		fiber_start("member", goes_to_the_meeting, (void *)(uintptr_t)i);
}

TEST(work_does_not_wait_for_other_work_while_threads_can_be_had)
{
	for (size_t i = 0; i < 2; i++)
		CHECK_INT(sem_init(&meeting.came[i], 0, 0), 0);
	run(holds_a_meeting, NULL);
	CHECK_INT(meeting.met, 2);
}

struct ends {
	int fd[2];
	size_t sent;
	size_t received;
};

enum { STREAM_SIZE = 4 << 20 };

static void sender(void *arg)
{
	struct ends *e = arg;
	struct watch w;
	static char bytes[8192];

	watch_init(&w, e->fd[0]);
	while (e->sent < STREAM_SIZE) {
		ssize_t n = write(w.fd, bytes, sizeof(bytes));

		if (n > 0)
			e->sent += (size_t)n;
		else if (watch_wait(&w, WATCH_WRITE, clock_deadline(duration_s(10))))
			break;
	}
	watch_done(&w);
	close(e->fd[0]);
}

static void receiver(void *arg)
{
	struct ends *e = arg;
	struct watch w;
	static char bytes[5000];
	ssize_t n;

	watch_init(&w, e->fd[1]);
	while ((n = read(w.fd, bytes, sizeof(bytes)))) {
		if (n > 0)
			e->received += (size_t)n;
		else if (watch_wait(&w, WATCH_READ, clock_deadline(duration_s(10))))
			break;
	}
	watch_done(&w);
	close(e->fd[1]);
}

TEST(bytes_flow_over_a_socket_pair)
{
	struct ends e = {0};

	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, e.fd), 0);
	loop_init();
	fiber_start("receiver", receiver, &e);
	fiber_start("sender", sender, &e);
	loop_run();
	loop_done();
	CHECK_INT(e.sent, STREAM_SIZE);
	CHECK_INT(e.received, STREAM_SIZE);
}

static void reads_nothing(void *arg)
{
	struct ends *e = arg;
	struct watch w;

	watch_init(&w, e->fd[0]);
	CHECK_INT(watch_wait(&w, WATCH_READ, clock_deadline(duration_ms(3))), -ETIMEDOUT);
	CHECK_INT(watch_wait(&w, WATCH_WRITE, clock_deadline(duration_ms(3))), 0);
	watch_done(&w);
	close(e->fd[0]);
	close(e->fd[1]);
}

TEST(a_silent_peer_runs_into_the_deadline)
{
	struct ends e = {0};

	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, e.fd), 0);
	run(reads_nothing, &e);
}

static char fired[8];
static size_t fired_count;

static void on_timer_a(struct timer *t)
{
	fired[fired_count++] = 'a';
}

static void on_timer_b(struct timer *t)
{
	fired[fired_count++] = 'b';
}

static void uses_timers(void *arg)
{
	struct timer a = {0}, b = {0}, c = {0};
	struct instant begin = clock_now();

	timer_start(&c, instant_after(begin, duration_ms(1)), on_timer_a);
	timer_start(&b, instant_after(begin, duration_ms(6)), on_timer_b);
	timer_start(&a, instant_after(begin, duration_ms(2)), on_timer_a);
	timer_stop(&c);
	timer_stop(&c);
	CHECK_INT(fiber_sleep(duration_ms(15)), 0);
}

TEST(timers_fire_once_in_order_and_can_be_stopped)
{
	fired_count = 0;
	run(uses_timers, NULL);
	CHECK_STR(str_n(fired, fired_count), STR("ab"));
}

static void count_round(void *arg)
{
	++*(int *)arg;
}

static void sleeps_thrice(void *arg)
{
	for (int i = 0; i < 3; i++)
		CHECK_INT(fiber_sleep(duration_ms(1)), 0);
}

TEST(hooks_run_at_the_end_of_each_round)
{
	int rounds = 0;

	loop_init();
	loop_add_hook(count_round, &rounds);
	fiber_start("s", sleeps_thrice, NULL);
	loop_run();
	loop_done();
	CHECK(rounds >= 4);
}

static void stop_the_loop(void *arg)
{
	loop_stop();
}

TEST(ending_the_loop_cancels_whoever_waits)
{
	int results[4] = {0};

	loop_init();
	fiber_start("waiter", wait_for_ever, results);
	fiber_start("stopper", stop_the_loop, NULL);
	loop_run();
	CHECK_INT(fiber_count(), 1);
	loop_done();
	CHECK_INT(fiber_count(), 0);
	CHECK_INT(results[0], -ECANCELED);
}
