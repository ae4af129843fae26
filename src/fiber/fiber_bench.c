/* SPDX-License-Identifier: Apache-2.0 */
/* Prints what fibers cost: nanoseconds a switch, a start with its end, a wake through a wait list. */
#include "fiber/fiber.h"

enum { ROUNDS = 2000000, STARTS = 200000 };

static void yield_many(void *arg)
{
	for (int i = 0; i < ROUNDS; i++)
		fiber_yield();
}

static void nothing(void *arg)
{
}

static void start_many(void *arg)
{
	for (int i = 0; i < STARTS; i++) {
		fiber_start("nothing", nothing, NULL);
		fiber_yield();
	}
}

struct pair {
	struct wait_list ping;
	struct wait_list pong;
};

static void ping(void *arg)
{
	struct pair *p = arg;

	for (int i = 0; i < ROUNDS; i++) {
		wait_list_wake_one(&p->pong);
		if (wait_list_wait(&p->ping, INSTANT_NEVER))
			return;
	}
	wait_list_wake_one(&p->pong);
}

static void pong(void *arg)
{
	struct pair *p = arg;

	for (int i = 0; i < ROUNDS; i++) {
		if (wait_list_wait(&p->pong, INSTANT_NEVER))
			return;
		wait_list_wake_one(&p->ping);
	}
}

static void report(const char *what, struct instant began, double count)
{
	struct duration took = duration_between(began, clock_now());

	printf("%-44s %7.1f ns\n", what, (double)took.ns / count);
}

int main(void)
{
	struct pair pair;
	struct instant began;

	loop_init();
	began = clock_now();
	fiber_start("a", yield_many, NULL);
	fiber_start("b", yield_many, NULL);
	loop_run();
	/* A yield is two switches: to the loop, and from there to the other fiber. */
	report("a switch", began, 4.0 * ROUNDS);

	began = clock_now();
	fiber_start("starter", start_many, NULL);
	loop_run();
	report("a fiber from start to end", began, STARTS);

	wait_list_init(&pair.ping);
	wait_list_init(&pair.pong);
	began = clock_now();
	fiber_start("pong", pong, &pair);
	fiber_start("ping", ping, &pair);
	loop_run();
	report("a wake through a wait list", began, 2.0 * ROUNDS);
	loop_done();
	return 0;
}
