/* SPDX-License-Identifier: Apache-2.0 */
#include "role/qmgr/backoff.h"

#include "base/base.h"
#include "check.h"

static const struct backoff USUAL = {{300 * NS_PER_S}, {4000 * NS_PER_S}, {432000 * NS_PER_S}, {86400 * NS_PER_S}};

static struct wall_time wall_s(int64_t seconds)
{
	return (struct wall_time){(1700000000 + seconds) * 1000000};
}

TEST(the_wait_is_the_age_of_the_message_within_its_limits)
{
	static const struct {
		const char *label;
		int64_t age, wait;
	} cases[] = {
		{"a new message waits the least", 0, 300}, {"young", 299, 300}, {"its age", 1000, 1000}, {"old", 5000, 4000},
		{"a clock that went back", -50, 300},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++)
		CHECK_CASE(backoff_next(&USUAL, wall_s(0), wall_s(cases[i].age)).us == wall_s(cases[i].age + cases[i].wait).us,
		           cases[i].label);
}

TEST(five_days_of_attempts_double_at_first_and_then_come_every_4000_seconds)
{
	struct wall_time now = wall_s(0);
	int attempts = 1;

	while (!backoff_is_over(&USUAL, wall_s(0), false, now)) {
		now = backoff_next(&USUAL, wall_s(0), now);
		attempts++;
	}
	/* At 0, 300, 600, 1200, 2400, 4800, then 8800 and every 4000 s up to 432000. */
	CHECK_INT(attempts, 6 + 107 + 1 - 1);
	CHECK(now.us >= wall_s(432000).us);
}

TEST(bounces_have_a_lifetime_of_their_own)
{
	CHECK(backoff_is_over(&USUAL, wall_s(0), true, wall_s(86400)));
	CHECK(!backoff_is_over(&USUAL, wall_s(0), true, wall_s(86399)));
	CHECK(!backoff_is_over(&USUAL, wall_s(0), false, wall_s(86400)));
}

TEST(a_lifetime_of_zero_means_one_attempt)
{
	struct backoff once = USUAL;

	once.lifetime = (struct duration){0};
	CHECK(backoff_is_over(&once, wall_s(0), false, wall_s(0)));
}
