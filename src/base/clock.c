/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks of the machine. */
#include "base/clock.h"

#include <time.h>

struct instant clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (struct instant){ts.tv_sec * NS_PER_S + ts.tv_nsec};
}

struct wall_time clock_wall(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (struct wall_time){ts.tv_sec * 1000000LL + ts.tv_nsec / 1000};
}

struct duration clock_thread(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (struct duration){ts.tv_sec * NS_PER_S + ts.tv_nsec};
}

struct instant instant_after(struct instant from, struct duration wait)
{
	struct instant to;

	if (__builtin_add_overflow(from.ns, wait.ns, &to.ns))
		return INSTANT_NEVER;
	return to;
}

struct instant clock_deadline(struct duration wait)
{
	return instant_after(clock_now(), wait);
}

struct duration duration_between(struct instant from, struct instant to)
{
	return (struct duration){to.ns - from.ns};
}
