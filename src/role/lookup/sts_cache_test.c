/* SPDX-License-Identifier: Apache-2.0 */
#include "role/lookup/sts_cache.h"

#include <errno.h>

#include "check.h"
#include "fiber/fiber.h"
#include "role/lookup/store.h"

enum { MANY = 1000, FEW = 20, NOW = 1000000 };

static void open_store(void)
{
	struct buf why = BUF_INIT(1000);

	if (!store_is_open())
		CHECK_INT(store_open(str_of(check_folder()), &why), 0);
	CHECK_STR(buf_str(&why), STR(""));
	buf_done(&why);
}

static void put(const char *domain, uint64_t now, uint32_t age, size_t most)
{
	struct sts_cached c = {.id = STR("1"), .text = STR("version: STSv1\n"), .fetched_at = now, .max_age = age};

	CHECK_INT(sts_cache_put(str_of(domain), &c, most), 0);
}

static const char *name(const char *prefix, int number)
{
	static char domain[40];

	snprintf(domain, sizeof(domain), "%s%d.example", prefix, number);
	return domain;
}

static int find(const char *domain, uint64_t now)
{
	struct arena a = ARENA_INIT;
	struct sts_cached c;
	int err = sts_cache_get(str_of(domain), now, &a, &c);

	if (!err) {
		CHECK_STR(c.id, STR("1"));
		CHECK_STR(c.text, STR("version: STSv1\n"));
	}
	arena_done(&a);
	return err;
}

static void run(fiber_fn *fn)
{
	loop_init();
	open_store();
	fiber_start("test", fn, NULL);
	loop_run();
	loop_done();
}

static void keep_and_end(void *unused)
{
	put("a.example", NOW, 100, MANY);
	CHECK_INT(find("a.example", NOW + 99), 0);
	CHECK_INT(find("a.example", NOW + 100), -ENOENT);
	CHECK_INT(find("a.example", NOW - 1), -ENOENT);
	CHECK_INT(find("b.example", NOW), -ENOENT);
}

TEST(a_policy_holds_until_its_age_ends)
{
	run(keep_and_end);
}

static void end_and_sweep(void *unused)
{
	struct arena a = ARENA_INIT;
	struct str record;

	for (int i = 0; i < 10; i++)
		put(name("ended", i), NOW, 10, MANY);
	for (int i = 0; i < 20; i++)
		put(name("good", i), NOW + 20, 100, MANY);
	for (int i = 0; i < 10; i++)
		CHECK_INT(store_get(STORE_STS, str_of(name("ended", i)), &a, &record), -ENOENT);
	for (int i = 0; i < 20; i++)
		CHECK_INT(find(name("good", i), NOW + 20), 0);
	arena_done(&a);
}

TEST(what_has_ended_makes_room_for_the_next_ones)
{
	run(end_and_sweep);
}

static void fill(void *unused)
{
	for (int i = 0; i < 200; i++) {
		put(name("full", i), NOW + 20, 100000, FEW);
		CHECK_INT(find(name("full", i), NOW + 20), 0);
	}
	CHECK(store_count(STORE_STS) <= FEW);
	CHECK(store_count(STORE_STS) >= FEW - 2);
}

TEST(there_are_no_more_than_the_limit)
{
	run(fill);
}
