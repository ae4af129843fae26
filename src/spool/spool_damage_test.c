/* SPDX-License-Identifier: Apache-2.0 */
/* Records that cannot be read: what they cost, and what is kept. */
#include <fcntl.h>
#include <unistd.h>

#include "spool/disk.h"
#include "spool/spool_internal.h"
#include "spool_stage.h"

static const struct wall_time long_ago = {1};

SPOOL_TEST(damage_in_the_middle_costs_one_message)
{
	struct fixture *f = arg;
	struct record_ref ref;
	char path[160];
	int fd;

	OPEN(f);
	fixture_start_appender(f);
	CHECK_INT(fixture_append(f, "a@example.com", 1, STR("a\r\n")), 0);
	CHECK_INT(fixture_append(f, "b@example.com", 1, STR("b\r\n")), 0);
	CHECK_INT(fixture_append(f, "c@example.com", 1, STR("c\r\n")), 0);
	CHECK(fixture_wait(f, 3));
	ref = fixture_find(f, "b@example.com")->ref;
	fixture_close(f);
	snprintf(path, sizeof path, "%s/%08x", folder_named("spool/segments"), ref.segment);
	fd = open(path, O_RDWR);
	CHECK_INT(disk_write(fd, "XX", 2, ref.at + 90), 0);
	close(fd);
	OPEN(f);
	CHECK(fixture_wait(f, 2));
	CHECK(fixture_find(f, "a@example.com") && fixture_find(f, "c@example.com"));
	CHECK(f->troubles.len > 0);
	fixture_close(f);
}

/* The next record in its segment. */
static void damage_behind(const struct spool_message *m)
{
	uint64_t end = (m->content_at + m->envelope.content_size + 7) & ~7ULL;
	char path[160];
	int fd;

	snprintf(path, sizeof path, "%s/%08x", folder_named("spool/segments"), m->ref.segment);
	fd = open(path, O_RDWR);
	CHECK_INT(disk_write(fd, "XX", 2, end), 0);
	close(fd);
}

/* The second hole is one that a receiver may have left when it ended; the first cannot be. */
SPOOL_TEST(a_damaged_segment_is_kept_though_another_hole_follows)
{
	struct fixture *f = arg;

	OPEN(f);
	fixture_start_appender(f);
	CHECK_INT(fixture_append(f, "a@example.com", 1, STR("a\r\n")), 0);
	CHECK(fixture_wait(f, 1));
	spool_set_hungry(f->sp, false);
	CHECK_INT(fixture_append(f, "b@example.com", 1, STR("b\r\n")), 0);
	CHECK_INT(fixture_append(f, "c@example.com", 1, STR("c\r\n")), 0);
	damage_behind(fixture_find(f, "a@example.com"));
	spool_set_hungry(f->sp, true);
	CHECK(fixture_wait(f, 2));
	f->is_cut = true;
	CHECK_INT(fixture_append(f, "d@example.com", 1, STR("d\r\n")), 0);
	CHECK_INT(fixture_append(f, "e@example.com", 1, STR("e\r\n")), 0);
	damage_behind(fixture_find(f, "c@example.com"));
	fixture_kill_appender(f);
	spool_writer_gone(f->sp);
	CHECK(fixture_wait(f, 3));
	for (int i = 0; i < 1000 && !spool_is_recovered(f->sp); i++)
		CHECK_INT(fiber_sleep(duration_ms(10)), 0);
	fixture_finish(f, "a@example.com");
	fixture_finish(f, "c@example.com");
	fixture_finish(f, "e@example.com");
	CHECK_INT(f->gone, 0);
	fixture_close(f);
}

SPOOL_TEST(a_deferred_message_that_cannot_be_read_is_put_off)
{
	struct fixture *f = arg;
	struct spool_counts counts;
	struct record_ref ref;
	char path[160];
	int fd;

	OPEN(f);
	fixture_start_appender(f);
	CHECK_INT(fixture_append(f, "a@example.com", 1, STR("a\r\n")), 0);
	CHECK_INT(fixture_append(f, "b@example.com", 1, STR("b\r\n")), 0);
	CHECK(fixture_wait(f, 2));
	ref = fixture_find(f, "a@example.com")->ref;
	fixture_defer(f, "a@example.com", long_ago, "later");
	fixture_defer(f, "b@example.com", long_ago, "later");
	snprintf(path, sizeof path, "%s/%08x", folder_named("spool/segments"), ref.segment);
	fd = open(path, O_RDWR);
	CHECK_INT(disk_write(fd, "XX", 2, ref.at), 0);
	close(fd);
	fixture_close(f);
	OPEN(f);
	CHECK_INT(fixture_take_due(f, clock_wall()), 1);
	CHECK(fixture_find(f, "b@example.com") != NULL);
	CHECK(f->troubles.len > 0);
	spool_count(f->sp, &counts);
	CHECK_INT(counts.active, 1);
	CHECK_INT(counts.indexed, 2);
	fixture_close(f);
}
