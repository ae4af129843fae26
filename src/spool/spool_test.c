/* SPDX-License-Identifier: Apache-2.0 */
/* The spool from both sides: what is appended arrives, is deferred, comes back, is forgotten. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "spool/disk.h"
#include "spool/reader.h"
#include "spool/spool_internal.h"
#include "spool_stage.h"

static const struct wall_time long_ago = {1};

static struct wall_time in_an_hour(void)
{
	return (struct wall_time){clock_wall().us + 3600 * INT64_C(1000000)};
}

static struct str repeat(struct buf *b, char c, size_t len)
{
	char *room = buf_room(b, len);

	memset(room, c, len);
	buf_added(b, len);
	return buf_str(b);
}

SPOOL_TEST(a_message_arrives_as_it_was_appended)
{
	struct fixture *f = arg;

	OPEN(f);
	fixture_start_appender(f);
	CHECK_INT(fixture_append(f, "a@example.com", 3, STR("Subject: x\r\n\r\nhello\r\n")), 0);
	CHECK(fixture_wait(f, 1));

	struct spool_message *m = fixture_find(f, "a@example.com");

	CHECK(m != NULL);
	if (m) {
		struct buf content = fixture_content(f, m);

		CHECK_INT(m->envelope.recipient_count, 3);
		CHECK_INT(m->pending_count, 3);
		CHECK_STR(m->envelope.recipients[2].address, STR("r2@example.org"));
		CHECK_STR(buf_str(&content), STR("Subject: x\r\n\r\nhello\r\n"));
		buf_done(&content);
	}
	CHECK_STR(buf_str(&f->troubles), STR(""));
	fixture_close(f);
}

SPOOL_TEST(content_is_read_piece_by_piece)
{
	struct fixture *f = arg;
	struct content c;
	char piece[8];
	size_t got;

	OPEN(f);
	fixture_start_appender(f);
	CHECK_INT(fixture_append(f, "a@example.com", 1, STR("0123456789\r\n")), 0);
	CHECK(fixture_wait(f, 1));
	c = (struct content){.start = f->messages[0]->content_at, .size = f->messages[0]->envelope.content_size};
	CHECK_INT(spool_segment_fd(f->sp, f->messages[0], &c.fd), 0);
	CHECK_INT(content_read(&c, piece, sizeof piece, &got), 0);
	CHECK_STR(str_n(piece, got), STR("01234567"));
	CHECK_INT(content_read(&c, piece, sizeof piece, &got), 0);
	CHECK_STR(str_n(piece, got), STR("89\r\n"));
	CHECK_INT(content_read(&c, piece, sizeof piece, &got), 0);
	CHECK_INT((long long)got, 0);
	c = (struct content){.fd = c.fd, .start = SMALL_SEGMENT - 4, .size = 8};
	CHECK_INT(content_read(&c, piece, sizeof piece, &got), -EBADMSG);
	fixture_close(f);
}

SPOOL_TEST(a_message_survives_the_end_of_its_owner)
{
	struct fixture *f = arg;

	OPEN(f);
	fixture_start_appender(f);
	CHECK_INT(fixture_append(f, "kept@example.com", 2, STR("kept\r\n")), 0);
	CHECK_INT(fixture_append(f, "done@example.com", 1, STR("done\r\n")), 0);
	CHECK(fixture_wait(f, 2));
	spool_mark_done(f->sp, fixture_find(f, "kept@example.com"), 0);
	fixture_finish(f, "done@example.com");
	fixture_close(f);

	OPEN(f);
	CHECK(fixture_wait(f, 1));
	CHECK_INT((int)f->count, 1);

	struct spool_message *m = fixture_find(f, "kept@example.com");

	CHECK(m && m->recipients[0].is_done && !m->recipients[1].is_done && m->pending_count == 1);
	fixture_close(f);
}

SPOOL_TEST(what_a_killed_receiver_did_not_announce_is_found)
{
	struct fixture *f = arg;

	OPEN(f);
	fixture_start_appender(f);
	CHECK_INT(fixture_append(f, "first@example.com", 1, STR("1\r\n")), 0);
	CHECK(fixture_wait(f, 1));
	f->is_cut = true;
	CHECK_INT(fixture_append(f, "second@example.com", 1, STR("2\r\n")), 0);
	CHECK_INT(fixture_append(f, "third@example.com", 1, STR("3\r\n")), 0);
	CHECK(!fiber_yield());
	CHECK_INT((int)f->count, 1);
	fixture_kill_appender(f);
	spool_writer_gone(f->sp);
	CHECK(fixture_wait(f, 3));
	CHECK(fixture_find(f, "second@example.com") && fixture_find(f, "third@example.com"));
	CHECK_STR(buf_str(&f->troubles), STR(""));
	fixture_close(f);
}

SPOOL_TEST(a_receiver_outlives_its_owner)
{
	struct fixture *f = arg;
	struct appender *ap;

	OPEN(f);
	fixture_start_appender(f);
	CHECK_INT(fixture_append(f, "before@example.com", 1, STR("1\r\n")), 0);
	CHECK(fixture_wait(f, 1));
	f->is_cut = true;
	CHECK_INT(fixture_append(f, "unannounced@example.com", 1, STR("2\r\n")), 0);
	ap = f->ap;
	f->ap = NULL;
	fixture_close(f);

	OPEN(f);
	f->ap = ap;
	CHECK(fixture_wait(f, 2));
	f->is_cut = true;
	CHECK_INT(fixture_append(f, "meanwhile@example.com", 1, STR("3\r\n")), 0);
	f->is_cut = false;
	appender_reset(ap);
	CHECK_INT(fixture_append(f, "after@example.com", 1, STR("4\r\n")), 0);
	CHECK(fixture_wait(f, 4));
	CHECK_INT((int)f->count, 4);
	CHECK_STR(buf_str(&f->troubles), STR(""));
	fixture_close(f);
}

SPOOL_TEST(a_segment_stays_while_it_is_read_though_its_writer_seals_it)
{
	struct fixture *f = arg;
	struct spool_grant g;

	OPEN(f);
	CHECK_INT(spool_grant(f->sp, &g), 0);
	fixture_close(f);

	/* The reader of this owner begins with the first yield; its thread is heard of when the loop has asked for events. */
	OPEN(f);
	CHECK(!fiber_yield());
	CHECK_INT(spool_queued(f->sp, g.segment, g.epoch, 4096, true), 0);
	CHECK_INT(f->gone, 0);
	for (int i = 0; i < 2500 && segment_find(f->sp, g.segment, g.epoch); i++)
		CHECK_INT(fiber_sleep(duration_ms(10)), 0);
	CHECK(!segment_find(f->sp, g.segment, g.epoch));
	close(g.fd);
	fixture_close(f);
}

SPOOL_TEST(a_deferred_message_comes_back_when_it_is_due)
{
	struct fixture *f = arg;
	struct spool_counts counts;

	OPEN(f);
	fixture_start_appender(f);
	CHECK_INT(fixture_append(f, "late@example.com", 2, STR("late\r\n")), 0);
	CHECK_INT(fixture_append(f, "later@example.com", 1, STR("later\r\n")), 0);
	CHECK(fixture_wait(f, 2));
	spool_mark_done(f->sp, fixture_find(f, "late@example.com"), 1);
	fixture_defer(f, "late@example.com", long_ago, "try again");
	fixture_defer(f, "later@example.com", in_an_hour(), "try again");
	fixture_close(f);

	OPEN(f);
	spool_count(f->sp, &counts);
	CHECK_INT(counts.indexed, 2);
	CHECK_INT(spool_next_due(f->sp).us, 1);
	CHECK_INT(fixture_take_due(f, clock_wall()), 1);

	struct spool_message *m = fixture_find(f, "late@example.com");

	CHECK(m && m->attempts == 1 && m->is_indexed);
	if (m) {
		struct buf content = fixture_content(f, m);

		CHECK_STR(buf_str(&content), STR("late\r\n"));
		CHECK_STR(m->recipients[0].reason.text, STR("try again"));
		CHECK(!m->recipients[0].is_done && m->recipients[1].is_done);
		buf_done(&content);
		fixture_finish(f, "late@example.com");
	}
	CHECK_INT(fixture_take_due(f, clock_wall()), 0);
	CHECK(spool_next_due(f->sp).us > clock_wall().us);
	fixture_close(f);
}

SPOOL_TEST(a_recipient_done_in_a_later_attempt_stays_done_after_a_crash)
{
	struct fixture *f = arg;

	OPEN(f);
	fixture_start_appender(f);
	CHECK_INT(fixture_append(f, "many@example.com", 3, STR("x\r\n")), 0);
	CHECK(fixture_wait(f, 1));
	fixture_defer(f, "many@example.com", long_ago, "try again");
	fixture_close(f);
	OPEN(f);
	CHECK_INT(fixture_take_due(f, clock_wall()), 1);
	spool_mark_done(f->sp, fixture_find(f, "many@example.com"), 1);
	fixture_close(f);
	OPEN(f);
	CHECK_INT(fixture_take_due(f, clock_wall()), 1);

	struct spool_message *m = fixture_find(f, "many@example.com");

	CHECK(m && m->pending_count == 2 && m->recipients[1].is_done);
	fixture_close(f);
}

SPOOL_TEST(a_flush_brings_everything_once)
{
	struct fixture *f = arg;
	char sender[32];

	OPEN(f);
	fixture_start_appender(f);
	for (int i = 0; i < 10; i++) {
		snprintf(sender, sizeof sender, "s%d@example.com", i);
		CHECK_INT(fixture_append(f, sender, 1, STR("x\r\n")), 0);
		CHECK(fixture_wait(f, 1));
		fixture_defer(f, sender, in_an_hour(), "later");
	}
	CHECK_INT(fixture_take_due(f, clock_wall()), 0);
	fixture_close(f);
	OPEN(f);
	spool_flush(f->sp);
	CHECK_INT(fixture_take_due(f, clock_wall()), 10);
	CHECK(f->count == 10 && f->messages[0]->flags & SPOOL_FLUSHED);
	for (int i = 0; i < 10; i++) {
		snprintf(sender, sizeof sender, "s%d@example.com", i);
		fixture_defer(f, sender, in_an_hour(), "later again");
	}
	CHECK_INT(fixture_take_due(f, clock_wall()), 0);
	fixture_close(f);
}

/* Everything deferred so far is in the index. */
static void settle(struct fixture *f)
{
	struct spool_list *list;

	CHECK_INT(spool_list_open(f->sp, &list), 0);
	spool_list_close(list);
}

static void take_none(void *arg, struct spool_message *m)
{
	die("nothing is due");
}

static void take_beside(void *arg)
{
	struct fixture *f = arg;
	uint32_t count;

	CHECK_INT(spool_take_due(f->sp, long_ago, 100, take_none, NULL, &count), 0);
}

SPOOL_TEST(a_flush_counts_that_comes_while_the_index_is_read)
{
	struct fixture *f = arg;
	struct wall_time in_a_minute = {clock_wall().us + 60 * INT64_C(1000000)};
	struct fiber *other;

	OPEN(f);
	fixture_start_appender(f);
	CHECK_INT(fixture_append(f, "a@example.com", 1, STR("x\r\n")), 0);
	CHECK(fixture_wait(f, 1));
	fixture_defer(f, "a@example.com", in_an_hour(), "later");
	settle(f);
	spool_flush(f->sp);
	CHECK_INT(fixture_take_due(f, clock_wall()), 1);
	/* Before the place where the first flush ended. */
	fixture_defer(f, "a@example.com", in_a_minute, "later again");
	settle(f);
	other = fiber_start("other", take_beside, f);
	fiber_make_joinable(other);
	CHECK(!fiber_yield());
	spool_flush(f->sp);
	fiber_join(other);
	CHECK_INT(fixture_take_due(f, clock_wall()), 1);
	fixture_close(f);
}

SPOOL_TEST(what_is_deferred_to_a_time_that_was_given_already_comes_back)
{
	struct fixture *f = arg;
	struct wall_time in_two_hours = {in_an_hour().us + 3600 * INT64_C(1000000)};
	struct wall_time in_a_minute = {clock_wall().us + 60 * INT64_C(1000000)};
	struct spool_counts counts;

	OPEN(f);
	fixture_start_appender(f);
	CHECK_INT(fixture_append(f, "a@example.com", 1, STR("a\r\n")), 0);
	CHECK_INT(fixture_append(f, "b@example.com", 1, STR("b\r\n")), 0);
	CHECK(fixture_wait(f, 2));
	fixture_defer(f, "b@example.com", in_an_hour(), "later");
	settle(f);
	/* On its way into the index, where b is looked at meanwhile. */
	fixture_defer(f, "a@example.com", in_a_minute, "later");
	CHECK(fixture_take_due(f, in_two_hours) > 0);
	settle(f);
	(void)fixture_take_due(f, in_two_hours);
	CHECK(fixture_find(f, "a@example.com") && fixture_find(f, "b@example.com"));
	CHECK_INT((int)f->count, 2);
	fixture_finish(f, "a@example.com");
	fixture_finish(f, "b@example.com");
	fixture_close(f);
	OPEN(f);
	spool_count(f->sp, &counts);
	CHECK_INT(counts.indexed, 0);
	CHECK(spool_next_due(f->sp).us == INT64_MAX);
	fixture_close(f);
}

SPOOL_TEST(held_messages_wait_for_their_release)
{
	struct fixture *f = arg;
	struct spool_counts counts;
	uint64_t count;

	OPEN(f);
	fixture_start_appender(f);
	CHECK_INT(fixture_append(f, "held@example.com", 1, STR("x\r\n")), 0);
	CHECK_INT(fixture_append(f, "other@example.com", 1, STR("x\r\n")), 0);
	CHECK(fixture_wait(f, 2));
	fixture_find(f, "held@example.com")->flags |= SPOOL_HELD;
	fixture_defer(f, "held@example.com", long_ago, "");
	fixture_defer(f, "other@example.com", in_an_hour(), "");
	CHECK_INT(spool_change(f->sp, STR(""), SPOOL_HOLD, &count), 0);
	CHECK_INT(count, 1);
	spool_count(f->sp, &counts);
	CHECK_INT(counts.held, 2);
	spool_flush(f->sp);
	CHECK_INT(fixture_take_due(f, in_an_hour()), 0);
	CHECK_INT(spool_change(f->sp, STR("00000001z"), SPOOL_RELEASE, &count), 0);
	CHECK_INT(fixture_take_due(f, clock_wall()), 1);
	CHECK(fixture_find(f, "held@example.com") != NULL);
	CHECK_INT(spool_change(f->sp, STR("00000001z"), SPOOL_DELETE, &count), -EBUSY);
	CHECK_INT(spool_change(f->sp, STR("nothing"), SPOOL_DELETE, &count), -ENOENT);
	CHECK_INT(spool_change(f->sp, STR(""), SPOOL_DELETE, &count), 0);
	CHECK_INT(count, 1);
	spool_count(f->sp, &counts);
	CHECK_INT(counts.held, 0);
	CHECK_INT(counts.indexed, 1);
	fixture_close(f);
}

SPOOL_TEST(a_listing_does_not_see_what_happens_meanwhile)
{
	struct fixture *f = arg;
	const struct spool_message *m;
	struct spool_list *list;
	uint64_t count;
	char sender[32];

	OPEN(f);
	fixture_start_appender(f);
	for (int i = 0; i < 200; i++) {
		snprintf(sender, sizeof sender, "s%d@example.com", i);
		CHECK_INT(fixture_append(f, sender, 1, STR("x\r\n")), 0);
		CHECK(fixture_wait(f, 1));
		fixture_defer(f, sender, in_an_hour(), "later");
	}
	CHECK_INT(spool_list_open(f->sp, &list), 0);
	CHECK_INT(spool_change(f->sp, STR(""), SPOOL_DELETE, &count), 0);
	CHECK_INT(count, 200);
	count = 0;
	while (!spool_list_next(list, &m)) {
		CHECK_STR(m->recipients[0].reason.text, STR("later"));
		count++;
	}
	CHECK_INT(count, 200);
	spool_list_close(list);
	CHECK_INT(spool_list_open(f->sp, &list), 0);
	CHECK_INT(spool_list_next(list, &m), -ENOENT);
	spool_list_close(list);
	fixture_close(f);
}

SPOOL_TEST(a_listing_that_paused_goes_on_with_what_is_there_then)
{
	struct fixture *f = arg;
	const struct spool_message *m;
	struct spool_list *list;
	char sender[32], last[QUEUE_ID_SIZE] = "";
	uint64_t count;
	int seen = 0;

	OPEN(f);
	fixture_start_appender(f);
	for (int i = 0; i < 200; i++) {
		snprintf(sender, sizeof sender, "s%d@example.com", i);
		CHECK_INT(fixture_append(f, sender, 1, STR("x\r\n")), 0);
		CHECK(fixture_wait(f, 1));
		fixture_defer(f, sender, in_an_hour(), "later");
	}
	CHECK_INT(spool_list_open(f->sp, &list), 0);
	while (!spool_list_next(list, &m)) {
		CHECK(str_cmp(str_of(m->envelope.queue_id), str_of(last)) > 0);
		memcpy(last, m->envelope.queue_id, sizeof last);
		if (++seen % 10 == 0)
			spool_list_pause(list);
		if (seen == 100)
			CHECK_INT(spool_change(f->sp, STR(""), SPOOL_DELETE, &count), 0);
	}
	/* What was read before stays: a listing reads ahead. */
	CHECK(seen >= 100 && seen < 200);
	spool_list_close(list);
	fixture_close(f);
}

SPOOL_TEST(one_message_can_be_taken_by_its_queue_id)
{
	struct fixture *f = arg;
	struct spool_message *m;

	OPEN(f);
	fixture_start_appender(f);
	CHECK_INT(fixture_append(f, "a@example.com", 1, STR("x\r\n")), 0);
	CHECK(fixture_wait(f, 1));
	fixture_defer(f, "a@example.com", in_an_hour(), "later");
	CHECK_INT(spool_take(f->sp, STR("00000001z"), &m), 0);
	CHECK_INT(spool_take(f->sp, STR("00000001z"), &m), -EBUSY);
	CHECK_INT(spool_take(f->sp, STR("00000002z"), &m), -ENOENT);
	spool_finish(f->sp, m);
	CHECK_INT(spool_take(f->sp, STR("00000001z"), &m), -ENOENT);
	fixture_close(f);
}

SPOOL_TEST(segments_are_used_again)
{
	struct fixture *f = arg;
	struct buf b = BUF_INIT(65536);
	struct str content = repeat(&b, 'x', 20000);
	struct spool_counts counts;

	OPEN(f);
	fixture_start_appender(f);
	for (int i = 0; i < 100; i++) {
		CHECK_INT(fixture_append(f, "a@example.com", 1, content), 0);
		CHECK(fixture_wait(f, 1));
		fixture_finish(f, "a@example.com");
		/* The keeper may be late on a busy machine; what it does is what counts. */
		CHECK(fixture_wait_cleared(f));
		spool_count(f->sp, &counts);
		CHECK(counts.segments <= 6);
	}
	CHECK(f->gone >= 6);
	CHECK_STR(buf_str(&f->troubles), STR(""));
	fixture_close(f);
	buf_done(&b);
}

SPOOL_TEST(sparse_segments_are_compacted)
{
	struct fixture *f = arg;
	struct buf b = BUF_INIT(65536);
	struct str content = repeat(&b, 'y', 10000);
	struct spool_counts counts;
	char sender[32];

	OPEN(f);
	fixture_start_appender(f);
	for (int i = 0; i < 250; i++) {
		snprintf(sender, sizeof sender, "s%d@example.com", i);
		CHECK_INT(fixture_append(f, sender, 1, content), 0);
		CHECK(fixture_wait(f, 1));
		if (i % 20 == 0)
			fixture_defer(f, sender, in_an_hour(), "later");
		else
			fixture_finish(f, sender);
	}
	for (int i = 0; i < 1250 && f->gone < 8; i++)
		CHECK_INT(fiber_sleep(duration_ms(20)), 0);
	CHECK(f->gone >= 8);
	/* The last one may be on its way still. */
	settle(f);
	spool_count(f->sp, &counts);
	CHECK_INT(counts.indexed, 13);
	CHECK_STR(buf_str(&f->troubles), STR(""));
	fixture_close(f);
	OPEN(f);
	spool_flush(f->sp);
	CHECK_INT(fixture_take_due(f, clock_wall()), 13);
	for (size_t i = 0; i < f->count; i++) {
		struct buf got = fixture_content(f, f->messages[i]);

		CHECK(str_eq(buf_str(&got), content));
		buf_done(&got);
	}
	fixture_close(f);
	buf_done(&b);
}

static void wait_for_marks(struct fixture *f)
{
	bool has_marks = true;

	for (int i = 0; i < 2500 && has_marks; i++) {
		has_marks = false;
		LIST_EACH(&f->sp->segments, it)
			has_marks |= LIST_ENTRY(it, struct segment_file, link)->has_marks;
		if (has_marks)
			CHECK_INT(fiber_sleep(duration_ms(10)), 0);
	}
	CHECK(!has_marks);
}

/* Two segments with one message each; the index hears late that there is nothing else in them. */
SPOOL_TEST(a_segment_that_settles_when_all_is_quiet_is_compacted)
{
	struct fixture *f = arg;
	struct buf b = BUF_INIT(65536);
	struct str content = repeat(&b, 'y', 10000);
	struct spool_counts counts = {0};
	char sender[32];
	unsigned gone;

	OPEN(f);
	fixture_start_appender(f);
	for (int i = 0; i < 80; i++) {
		snprintf(sender, sizeof sender, "s%d@example.com", i);
		CHECK_INT(fixture_append(f, sender, 1, content), 0);
		CHECK(fixture_wait(f, 1 + (i > 0) + (i > 30)));
		if (i != 0 && i != 30)
			fixture_finish(f, sender);
	}
	wait_for_marks(f);
	fixture_defer(f, "s0@example.com", in_an_hour(), "later");
	fixture_defer(f, "s30@example.com", in_an_hour(), "later");
	for (int i = 0; i < 25000 && counts.indexed < 2; i++) {
		CHECK_INT(fiber_sleep(duration_ms(1)), 0);
		spool_count(f->sp, &counts);
	}
	index_lock(f->sp);
	wait_for_marks(f);
	gone = f->gone;
	index_unlock(f->sp);
	for (int i = 0; i < 2500 && f->gone == gone; i++)
		CHECK_INT(fiber_sleep(duration_ms(10)), 0);
	CHECK_INT(f->gone, gone + 1);
	fixture_close(f);
	buf_done(&b);
}

SPOOL_TEST(a_large_message_has_a_file_of_its_own)
{
	struct fixture *f = arg;
	struct envelope e = {.queue_id = "LARGEz",
	                     .sender = STR("big@example.com"),
	                     .recipient_count = 1,
	                     .recipients = &(struct recipient){.address = STR("r@example.org")}};
	struct buf b = BUF_INIT(1 << 20);
	struct str piece = repeat(&b, 'z', 1 << 20);
	struct append_large *l, *dropped;

	OPEN(f);
	fixture_start_appender(f);
	CHECK_INT(appender_large_open(f->ap, &l), 0);
	CHECK_INT(appender_large_open(f->ap, &dropped), 0);
	for (int i = 0; i < 6; i++)
		CHECK_INT(append_large_write(l, piece), 0);
	CHECK_INT(append_large_commit(l, &e), 0);
	append_large_abort(dropped);
	CHECK(fixture_wait(f, 1));
	fixture_close(f);
	OPEN(f);
	CHECK(fixture_wait(f, 1));
	fixture_defer(f, "big@example.com", long_ago, "later");
	fixture_close(f);
	OPEN(f);
	CHECK_INT(fixture_take_due(f, clock_wall()), 1);

	struct spool_message *m = fixture_find(f, "big@example.com");
	struct buf content = fixture_content(f, m);

	CHECK_INT((long long)content.len, 6 << 20);
	CHECK(content.len && content.ptr[content.len - 1] == 'z');
	buf_done(&content);
	fixture_finish(f, "big@example.com");
	fixture_close(f);
	CHECK(access(folder_named("spool/large/0000000000000001"), F_OK) != 0);
	CHECK(access(folder_named("spool/large/0000000000000002"), F_OK) != 0);
	buf_done(&b);
}

SPOOL_TEST(a_lost_index_is_made_again_from_the_segments)
{
	struct fixture *f = arg;

	OPEN(f);
	fixture_start_appender(f);
	CHECK_INT(fixture_append(f, "a@example.com", 1, STR("a\r\n")), 0);
	CHECK_INT(fixture_append(f, "b@example.com", 1, STR("b\r\n")), 0);
	CHECK(fixture_wait(f, 2));
	fixture_defer(f, "a@example.com", in_an_hour(), "later");
	fixture_finish(f, "b@example.com");
	fixture_close(f);
	CHECK_INT(unlink(folder_named("spool/index/data.mdb")), 0);
	CHECK_INT(unlink(folder_named("spool/index/lock.mdb")), 0);
	OPEN(f);
	CHECK(fixture_wait(f, 1));
	CHECK_INT((int)f->count, 1);
	CHECK(fixture_find(f, "a@example.com") != NULL);
	fixture_close(f);
	OPEN(f);
	CHECK(fixture_wait(f, 1));
	fixture_close(f);
}

SPOOL_TEST(a_spool_has_one_owner)
{
	struct fixture *f = arg;
	struct fixture *other = mem_alloc(sizeof *other);

	OPEN(f);
	CHECK_INT(fixture_open(other, folder_named("spool"), SMALL_SEGMENT), -EBUSY);
	CHECK(str_find_str(buf_str(&other->troubles), STR("owns")) < other->troubles.len);
	buf_done(&other->troubles);
	free(other);
	fixture_close(f);
}

SPOOL_TEST(nothing_is_granted_below_the_reserve)
{
	struct fixture *f = arg;
	struct spool_grant g;
	uint64_t number;
	int fd;

	OPEN(f);
	spool_set_reserve(f->sp, UINT64_C(1) << 60);
	fixture_start_appender(f);
	CHECK_INT(spool_grant(f->sp, &g), -ENOSPC);
	CHECK_INT(spool_large_new(f->sp, &fd, &number), -ENOSPC);
	CHECK_INT(fixture_append(f, "a@example.com", 1, STR("a\r\n")), -ENOSPC);
	spool_set_reserve(f->sp, 0);
	CHECK_INT(fiber_sleep(duration_ms(1050)), 0);
	CHECK_INT(fixture_append(f, "a@example.com", 1, STR("a\r\n")), 0);
	fixture_close(f);
}

SPOOL_TEST(a_full_owner_leaves_mail_in_its_segment)
{
	struct fixture *f = arg;
	struct spool_counts counts;

	OPEN(f);
	spool_set_hungry(f->sp, false);
	fixture_start_appender(f);
	CHECK_INT(fixture_append(f, "a@example.com", 1, STR("a\r\n")), 0);
	CHECK_INT(fixture_append(f, "b@example.com", 1, STR("b\r\n")), 0);
	CHECK(!fiber_yield());
	spool_count(f->sp, &counts);
	CHECK(counts.waiting > 0);
	CHECK_INT((int)f->count, 0);
	spool_set_hungry(f->sp, true);
	CHECK(fixture_wait(f, 2));
	fixture_close(f);
}

SPOOL_TEST(an_owner_distrusts_what_it_hears)
{
	struct fixture *f = arg;
	struct spool_grant g;

	OPEN(f);
	CHECK_INT(spool_grant(f->sp, &g), 0);
	CHECK_INT(spool_queued(f->sp, g.segment, g.epoch + 1, 8192, false), 0);
	CHECK_INT(spool_queued(f->sp, g.segment + 7, g.epoch, 8192, false), -EINVAL);
	CHECK_INT(spool_queued(f->sp, g.segment, g.epoch, g.size + 8, false), -EINVAL);
	CHECK_INT(spool_queued(f->sp, g.segment, g.epoch, 8191, false), -EINVAL);
	CHECK_INT(spool_queued(f->sp, g.segment, g.epoch, 0, false), -EINVAL);
	CHECK_INT(spool_queued(f->sp, g.segment, g.epoch, 8192, false), 0);
	for (int i = 0; i < 2500 && !f->troubles.len; i++)
		CHECK_INT(fiber_sleep(duration_ms(10)), 0);
	CHECK_INT((int)f->count, 0);
	CHECK(f->troubles.len > 0);
	close(g.fd);
	fixture_close(f);
}
