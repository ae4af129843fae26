/* SPDX-License-Identifier: Apache-2.0 */
/* Times and durations. Tests may link a clock of their own in place of clock.c. */
#pragma once

#include <stdint.h>

struct duration {
	int64_t ns;
};

/* A moment of the monotonic clock: for deadlines and for measuring. */
struct instant {
	int64_t ns;
};

/* A moment of the wall clock, microseconds since 1970: for people and for what survives a restart. */
struct wall_time {
	int64_t us;
};

#define NS_PER_S 1000000000LL
#define INSTANT_NEVER ((struct instant){INT64_MAX})

static inline struct duration duration_s(int64_t seconds)
{
	return (struct duration){seconds * NS_PER_S};
}

static inline struct duration duration_ms(int64_t milliseconds)
{
	return (struct duration){milliseconds * 1000000};
}

struct instant clock_now(void);
struct wall_time clock_wall(void);
/* The same in whole seconds. */
static inline uint64_t clock_wall_s(void)
{
	return (uint64_t)(clock_wall().us / 1000000);
}
/* Processor time that the calling thread has used. */
struct duration clock_thread(void);

/* Saturates at INSTANT_NEVER. */
struct instant instant_after(struct instant from, struct duration wait);
/* The deadline that lies `wait` from now. */
struct instant clock_deadline(struct duration wait);
struct duration duration_between(struct instant from, struct instant to);
static inline int instant_is_before(struct instant a, struct instant b)
{
	return a.ns < b.ns;
}
