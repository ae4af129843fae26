/* SPDX-License-Identifier: Apache-2.0 */
#include "role/qmgr/schedule.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"
#include "check.h"

static const struct instant START = {1000 * NS_PER_S};

static struct instant at_s(int64_t seconds)
{
	return instant_after(START, duration_s(seconds));
}

static void limits_copy(void *arg, struct str transport, struct schedule_limits *ret_limits)
{
	*ret_limits = *(const struct schedule_limits *)arg;
}

static struct schedule_limits limits_usual(void)
{
	return (struct schedule_limits){
		.concurrency_limit = 20,
		.initial_concurrency = 5,
		.failed_cohort_limit = 1,
		.positive = {FEEDBACK_CONSTANT, 1},
		.negative = {FEEDBACK_CONSTANT, 1},
		.slot_cost = 5,
	};
}

static void add(struct schedule *s, struct schedule_entry *e, const char *destination)
{
	struct str reason;

	*e = (struct schedule_entry){.is_bulk = e->is_bulk};
	CHECK_INT(schedule_add(s, e, STR("smtp"), str_of(destination), &reason), 0);
}

static void done(struct schedule *s, struct schedule_entry *e, enum verdict verdict, struct instant now)
{
	schedule_done(s, e, verdict, STR("4.4.1 connect: refused"), now);
}

static size_t take_all(struct schedule *s, struct instant now, struct schedule_entry **taken, size_t most)
{
	size_t count = 0;

	while (count < most && (taken[count] = schedule_take(s, now)))
		count++;
	return count;
}

static void drain(struct schedule *s, struct instant now)
{
	struct schedule_entry *e;
	struct str reason;

	while ((e = schedule_take(s, now)))
		done(s, e, VERDICT_NONE, now);
	while (schedule_take_dropped(s, &reason))
		;
}

TEST(a_destination_starts_with_its_initial_window_and_grows_with_success)
{
	struct schedule_limits limits = limits_usual();
	struct schedule *s = schedule_new(limits_copy, &limits);
	struct schedule_entry entries[60];
	struct schedule_entry *taken[60];

	for (size_t i = 0; i < COUNT_OF(entries); i++) {
		entries[i].is_bulk = false;
		add(s, &entries[i], "a");
	}
	CHECK_INT(take_all(s, START, taken, 60), 5);
	CHECK(schedule_has_more(taken[0]));
	done(s, taken[0], VERDICT_GOOD, START);
	CHECK_INT(schedule_window(s, STR("smtp"), STR("a")), 6);
	CHECK_INT(take_all(s, START, taken, 60), 2);
	drain(s, START);
	schedule_free(s);
}

TEST(the_window_does_not_grow_past_its_limit)
{
	struct schedule_limits limits = limits_usual();
	struct schedule *s = schedule_new(limits_copy, &limits);
	static struct schedule_entry entries[500];
	struct schedule_entry *taken[500];
	size_t busy = 0;

	for (size_t i = 0; i < COUNT_OF(entries); i++)
		add(s, &entries[i], "a");
	for (int round = 0; round < 10; round++) {
		busy = take_all(s, START, taken, 500);
		for (size_t i = 0; i < busy; i++)
			done(s, taken[i], VERDICT_GOOD, START);
	}
	CHECK_INT(busy, 20);
	drain(s, START);
	CHECK_INT(schedule_destination_count(s), 0);
	schedule_free(s);
}

TEST(idle_capacity_does_not_grow_the_window)
{
	struct schedule_limits limits = limits_usual();
	struct schedule *s = schedule_new(limits_copy, &limits);
	struct schedule_entry keep = {0}, other = {0};

	add(s, &keep, "a");
	CHECK(schedule_take(s, START) == &keep);
	for (int i = 0; i < 50; i++) {
		add(s, &other, "a");
		CHECK(schedule_take(s, START) == &other);
		done(s, &other, VERDICT_GOOD, START);
	}
	/* Two at work and five at the start: the window stops at busy + initial. */
	CHECK_INT(schedule_window(s, STR("smtp"), STR("a")), 7);
	done(s, &keep, VERDICT_GOOD, START);
	schedule_free(s);
}

TEST(a_cohort_of_failures_makes_a_destination_dead_for_a_while)
{
	struct schedule_limits limits = limits_usual();
	struct schedule *s = schedule_new(limits_copy, &limits);
	struct schedule_entry entries[8] = {0};
	struct schedule_entry *taken[8];
	struct schedule_entry late = {0};
	struct str reason;
	size_t dropped = 0;

	for (size_t i = 0; i < COUNT_OF(entries); i++)
		add(s, &entries[i], "a");
	CHECK_INT(take_all(s, START, taken, 8), 5);
	/* 1/5 + 1/4 + 1/3 stay below one cohort; + 1/2 does not. */
	for (size_t i = 0; i < 3; i++)
		done(s, taken[i], VERDICT_BAD, START);
	CHECK_INT(schedule_window(s, STR("smtp"), STR("a")), 2);
	CHECK(!schedule_take_dropped(s, &reason));
	done(s, taken[3], VERDICT_BAD, START);
	CHECK_INT(schedule_window(s, STR("smtp"), STR("a")), 0);
	while (schedule_take_dropped(s, &reason)) {
		CHECK_STR(reason, STR("4.4.1 connect: refused"));
		dropped++;
	}
	CHECK_INT(dropped, 3);
	CHECK_INT(schedule_add(s, &late, STR("smtp"), STR("a"), &reason), -EHOSTDOWN);
	CHECK_STR(reason, STR("4.4.1 connect: refused"));
	CHECK_INT(schedule_wakeup(s).ns, at_s(300).ns);
	done(s, taken[4], VERDICT_BAD, START);
	CHECK(!schedule_take(s, at_s(299)));
	CHECK_INT(schedule_window(s, STR("smtp"), STR("a")), 0);
	CHECK(!schedule_take(s, at_s(300)));
	CHECK_INT(schedule_window(s, STR("smtp"), STR("a")), -ENOENT);
	add(s, &late, "a");
	CHECK(schedule_take(s, at_s(300)) == &late);
	done(s, &late, VERDICT_GOOD, at_s(300));
	schedule_free(s);
}

TEST(a_flush_gives_dead_destinations_another_chance)
{
	struct schedule_limits limits = limits_usual();
	struct schedule *s = schedule_new(limits_copy, &limits);
	struct schedule_entry e = {0};
	struct str reason;

	limits.initial_concurrency = 1;
	limits.failed_cohort_limit = 0.5;
	add(s, &e, "a");
	CHECK(schedule_take(s, START));
	done(s, &e, VERDICT_BAD, START);
	CHECK_INT(schedule_add(s, &e, STR("smtp"), STR("a"), &reason), -EHOSTDOWN);
	schedule_revive(s);
	add(s, &e, "a");
	CHECK(schedule_take(s, START) == &e);
	done(s, &e, VERDICT_GOOD, START);
	schedule_free(s);
}

TEST(destinations_are_served_in_turn)
{
	struct schedule_limits limits = limits_usual();
	struct schedule *s = schedule_new(limits_copy, &limits);
	struct schedule_entry a[4] = {0}, b[2] = {0};

	for (size_t i = 0; i < 4; i++)
		add(s, &a[i], "a");
	for (size_t i = 0; i < 2; i++)
		add(s, &b[i], "b");
	CHECK(schedule_take(s, START) == &a[0]);
	CHECK(schedule_take(s, START) == &b[0]);
	CHECK(schedule_take(s, START) == &a[1]);
	CHECK(schedule_take(s, START) == &b[1]);
	CHECK(schedule_take(s, START) == &a[2]);
	CHECK(schedule_take(s, START) == &a[3]);
	for (size_t i = 0; i < 4; i++)
		done(s, &a[i], VERDICT_GOOD, START);
	for (size_t i = 0; i < 2; i++)
		done(s, &b[i], VERDICT_GOOD, START);
	CHECK_INT(schedule_destination_count(s), 0);
	schedule_free(s);
}

TEST(bulk_mail_gets_one_delivery_in_five_while_other_mail_waits)
{
	struct schedule_limits limits = limits_usual();
	struct schedule *s = schedule_new(limits_copy, &limits);
	static struct schedule_entry bulk[40], normal[40];
	size_t bulk_count = 0;

	for (size_t i = 0; i < 40; i++) {
		bulk[i].is_bulk = true;
		add(s, &bulk[i], "a");
	}
	for (size_t i = 0; i < 40; i++)
		add(s, &normal[i], "a");
	for (int i = 0; i < 50; i++) {
		struct schedule_entry *e = schedule_take(s, START);

		bulk_count += e->is_bulk;
		done(s, e, VERDICT_GOOD, START);
	}
	CHECK_INT(bulk_count, 10);
	drain(s, START);
	schedule_free(s);
}

TEST(a_transport_has_at_most_its_process_limit_at_work)
{
	struct schedule_limits limits = limits_usual();
	struct schedule *s;
	struct schedule_entry entries[6] = {0};
	struct schedule_entry *taken[6];

	limits.process_limit = 2;
	s = schedule_new(limits_copy, &limits);
	for (size_t i = 0; i < COUNT_OF(entries); i++)
		add(s, &entries[i], i % 2 ? "a" : "b");
	CHECK_INT(take_all(s, START, taken, 6), 2);
	done(s, taken[0], VERDICT_GOOD, START);
	CHECK_INT(take_all(s, START, taken + 2, 4), 1);
	drain(s, START);
	done(s, taken[1], VERDICT_GOOD, START);
	drain(s, START);
	done(s, taken[2], VERDICT_GOOD, START);
	drain(s, START);
	CHECK_INT(schedule_waiting_count(s), 0);
	schedule_free(s);
}

TEST(a_rate_delay_leaves_one_delivery_at_a_time_and_a_pause_after_it)
{
	struct schedule_limits limits = limits_usual();
	struct schedule *s;
	struct schedule_entry entries[3] = {0};

	limits.destination_delay = duration_s(10);
	s = schedule_new(limits_copy, &limits);
	for (size_t i = 0; i < COUNT_OF(entries); i++)
		add(s, &entries[i], "a");
	CHECK(schedule_take(s, START) == &entries[0]);
	CHECK(!schedule_take(s, at_s(100)));
	done(s, &entries[0], VERDICT_GOOD, at_s(100));
	CHECK(!schedule_take(s, at_s(109)));
	CHECK_INT(schedule_wakeup(s).ns, at_s(110).ns);
	CHECK(schedule_take(s, at_s(110)) == &entries[1]);
	done(s, &entries[1], VERDICT_BAD, at_s(111));
	CHECK_INT(schedule_window(s, STR("smtp"), STR("a")), 1);
	CHECK(schedule_take(s, at_s(121)) == &entries[2]);
	done(s, &entries[2], VERDICT_GOOD, at_s(121));
	CHECK(!schedule_take(s, at_s(131)));
	CHECK_INT(schedule_destination_count(s), 0);
	schedule_free(s);
}

TEST(a_transport_delay_spaces_all_deliveries)
{
	struct schedule_limits limits = limits_usual();
	struct schedule *s;
	struct schedule_entry entries[2] = {0};

	limits.transport_delay = duration_s(2);
	s = schedule_new(limits_copy, &limits);
	add(s, &entries[0], "a");
	add(s, &entries[1], "b");
	CHECK(schedule_take(s, START) == &entries[0]);
	CHECK(!schedule_take(s, at_s(1)));
	CHECK_INT(schedule_wakeup(s).ns, at_s(2).ns);
	CHECK(schedule_take(s, at_s(2)) == &entries[1]);
	done(s, &entries[0], VERDICT_GOOD, at_s(2));
	done(s, &entries[1], VERDICT_GOOD, at_s(2));
	schedule_free(s);
}

TEST(a_delivery_that_never_took_place_goes_to_the_front)
{
	struct schedule_limits limits = limits_usual();
	struct schedule *s = schedule_new(limits_copy, &limits);
	struct schedule_entry entries[2] = {0};

	add(s, &entries[0], "a");
	add(s, &entries[1], "a");
	CHECK(schedule_take(s, START) == &entries[0]);
	schedule_again(s, &entries[0]);
	CHECK(schedule_take(s, START) == &entries[0]);
	schedule_remove(s, &entries[1]);
	CHECK(!schedule_take(s, START));
	schedule_again(s, &entries[0]);
	CHECK_INT(schedule_busy_count(s), 0);
	schedule_remove(s, &entries[0]);
	CHECK_INT(schedule_destination_count(s), 0);
	schedule_free(s);
}

TEST(new_limits_take_hold_at_once)
{
	struct schedule_limits limits = limits_usual();
	struct schedule *s = schedule_new(limits_copy, &limits);
	struct schedule_entry entries[6] = {0};
	struct schedule_entry *taken[6];

	for (size_t i = 0; i < COUNT_OF(entries); i++)
		add(s, &entries[i], "a");
	CHECK_INT(take_all(s, START, taken, 6), 5);
	limits.concurrency_limit = 2;
	schedule_reload(s);
	CHECK_INT(schedule_window(s, STR("smtp"), STR("a")), 2);
	for (size_t i = 0; i < 3; i++)
		done(s, taken[i], VERDICT_GOOD, START);
	CHECK(!schedule_take(s, START));
	done(s, taken[3], VERDICT_GOOD, START);
	CHECK(schedule_take(s, START) == &entries[5]);
	done(s, taken[4], VERDICT_GOOD, START);
	done(s, &entries[5], VERDICT_GOOD, START);
	schedule_free(s);
}

TEST(a_hundred_thousand_waiting_entries_are_all_delivered)
{
	enum { COUNT = 100000 };
	struct schedule_limits limits = limits_usual();
	struct schedule *s = schedule_new(limits_copy, &limits);
	struct schedule_entry *entries = mem_alloc(COUNT * sizeof *entries);
	struct schedule_entry *taken[64];
	size_t total = 0, count;

	for (size_t i = 0; i < COUNT; i++)
		add(s, &entries[i], "a");
	while ((count = take_all(s, START, taken, 64))) {
		for (size_t i = 0; i < count; i++)
			done(s, taken[i], VERDICT_GOOD, START);
		total += count;
	}
	CHECK_INT(total, COUNT);
	schedule_free(s);
	free(entries);
}

TEST(feedback_texts_are_read_or_refused)
{
	static const struct {
		const char *text;
		int result, by;
		double value;
	} cases[] = {
		{"1", 0, FEEDBACK_CONSTANT, 1},
		{"0.5", 0, FEEDBACK_CONSTANT, 0.5},
		{"1/concurrency", 0, FEEDBACK_BY_CONCURRENCY, 1},
		{" 0.1 / sqrt_concurrency", 0, FEEDBACK_BY_ROOT, 0.1},
		{"", -EINVAL, 0, 0},
		{"2", -EINVAL, 0, 0},
		{"-1", -EINVAL, 0, 0},
		{"nan", -EINVAL, 0, 0},
		{"1/window", -EINVAL, 0, 0},
		{"1x", -EINVAL, 0, 0},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct feedback f = {0};

		CHECK_CASE(feedback_parse(str_of(cases[i].text), &f) == cases[i].result, cases[i].text);
		CHECK_CASE((int)f.by == cases[i].by, cases[i].text);
		CHECK_CASE(f.value == cases[i].value, cases[i].text);
	}
}
