/* SPDX-License-Identifier: Apache-2.0 */
/* Disks that say no: what was not acknowledged is answered with the error, what was stays. */
#include <errno.h>
#include <sys/stat.h>

#include "check.h"
#include "fakedisk.h"
#include "spool/spool_internal.h"
#include "spool_fixture.h"

enum { SEGMENT = 256 << 10 };

static const char *run_folder(void)
{
	static char path[128];

	snprintf(path, sizeof path, "%s/run", check_folder());
	return path;
}

static void run(fiber_fn *fn)
{
	static struct fixture f;

	f = (struct fixture){0};
	CHECK_INT(mkdir(run_folder(), 0700), 0);
	fakedisk_start(run_folder());
	fixture_run(fn, &f);
	fakedisk_stop();
}

static void check_found_again(struct fixture *f, size_t count)
{
	CHECK_INT(fixture_open(f, run_folder(), SEGMENT), 0);
	CHECK(fixture_wait(f, count));
	CHECK_INT((long long)f->count, (long long)count);
	CHECK(!fixture_find(f, "failed@example.com"));
	fixture_close(f);
}

static void append_fails(void *arg, enum fakedisk_call what, unsigned skip, int error)
{
	struct fixture *f = arg;

	CHECK_INT(fixture_open(f, run_folder(), SEGMENT), 0);
	fixture_start_appender(f);
	CHECK_INT(fixture_append(f, "before@example.com", 1, STR("1\r\n")), 0);
	CHECK(fixture_wait(f, 1));
	fakedisk_fail(what, "segments/00000001", skip, error);
	CHECK_INT(fixture_append(f, "failed@example.com", 1, STR("2\r\n")), -error);
	fakedisk_fail(what, "", 0, 0);
	CHECK_INT(fixture_append(f, "after@example.com", 1, STR("3\r\n")), 0);
	CHECK(fixture_wait(f, 2));
	CHECK(!fixture_find(f, "failed@example.com"));
	fixture_close(f);
	check_found_again(f, 2);
}

static void write_fails(void *arg)
{
	append_fails(arg, FAKEDISK_WRITE, 0, ENOSPC);
}

TEST(a_failed_write_is_answered_and_the_next_segment_used)
{
	run(write_fails);
}

static void sync_fails(void *arg)
{
	append_fails(arg, FAKEDISK_SYNC, 0, EIO);
}

TEST(a_failed_sync_is_answered_and_its_message_never_found)
{
	run(sync_fails);
}

enum { GROUP = 3 };

struct sender {
	struct fixture *f;
	const char *name;
	int result;
};

static void append_one(void *arg)
{
	struct sender *s = arg;

	s->result = fixture_append(s->f, s->name, 1, STR("2\r\n"));
}

static void sync_of_group_fails(void *arg)
{
	struct fixture *f = arg;
	struct sender senders[GROUP] = {{f, "one@example.com", 0}, {f, "two@example.com", 0}, {f, "three@example.com", 0}};
	struct fiber *fibers[GROUP];

	CHECK_INT(fixture_open(f, run_folder(), SEGMENT), 0);
	fixture_start_appender(f);
	CHECK_INT(fixture_append(f, "before@example.com", 1, STR("1\r\n")), 0);
	CHECK(fixture_wait(f, 1));
	fakedisk_fail(FAKEDISK_SYNC, "segments/00000001", 0, EIO);
	for (size_t i = 0; i < GROUP; i++) {
		fibers[i] = fiber_start("sender", append_one, &senders[i]);
		fiber_make_joinable(fibers[i]);
	}
	for (size_t i = 0; i < GROUP; i++) {
		fiber_join(fibers[i]);
		CHECK_INT(senders[i].result, -EIO);
	}
	CHECK_INT(fixture_append(f, "after@example.com", 1, STR("3\r\n")), 0);
	CHECK(fixture_wait(f, 2));
	fixture_close(f);
	CHECK_INT(fixture_open(f, run_folder(), SEGMENT), 0);
	CHECK(fixture_wait(f, 2));
	while (!spool_is_recovered(f->sp))
		CHECK_INT(fiber_sleep(duration_ms(10)), 0);
	CHECK_INT((long long)f->count, 2);
	CHECK(fixture_find(f, "before@example.com") && fixture_find(f, "after@example.com"));
	fixture_close(f);
}

TEST(a_failed_group_is_never_found_not_even_its_later_messages)
{
	run(sync_of_group_fails);
}

/* Nothing is on its way into the index. */
static bool is_quiet(struct fixture *f)
{
	struct spool_counts counts;

	spool_count(f->sp, &counts);
	return !counts.committing && !f->sp->is_rebuilding;
}

static bool has_trouble(struct fixture *f)
{
	return f->troubles.len > 0;
}

static bool wait_for(struct fixture *f, bool (*condition)(struct fixture *f))
{
	for (int i = 0; i < 1000 && !condition(f); i++)
		CHECK_INT(fiber_sleep(duration_ms(10)), 0);
	return condition(f);
}

static void index_fails(void *arg)
{
	struct fixture *f = arg;
	struct spool_counts counts;

	CHECK_INT(fixture_open(f, run_folder(), SEGMENT), 0);
	fixture_start_appender(f);
	CHECK_INT(fixture_append(f, "a@example.com", 1, STR("1\r\n")), 0);
	CHECK(fixture_wait(f, 1));
	CHECK(wait_for(f, is_quiet));
	fakedisk_fail(FAKEDISK_SYNC, "index", 0, EIO);
	fixture_defer(f, "a@example.com", (struct wall_time){1}, "later");
	CHECK(wait_for(f, has_trouble));
	CHECK(str_find_str(buf_str(&f->troubles), STR("trying again")) < f->troubles.len);
	CHECK(wait_for(f, is_quiet));
	spool_count(f->sp, &counts);
	CHECK_INT(counts.indexed, 1);
	CHECK_INT(fixture_take_due(f, clock_wall()), 1);
	fixture_close(f);
}

TEST(an_index_that_cannot_be_written_is_tried_again)
{
	run(index_fails);
}

static void making_fails(void *arg)
{
	struct fixture *f = arg;
	struct spool_grant g;

	fakedisk_fail(FAKEDISK_SYNC, "segments", 0, EIO);
	CHECK_INT(fixture_open(f, run_folder(), SEGMENT), 0);
	CHECK_INT(spool_grant(f->sp, &g), -EIO);
	fixture_start_appender(f);
	CHECK_INT(fixture_append(f, "a@example.com", 1, STR("1\r\n")), 0);
	CHECK(fixture_wait(f, 1));
	fixture_close(f);
	check_found_again(f, 1);
}

TEST(a_segment_that_cannot_be_made_is_refused)
{
	run(making_fails);
}
