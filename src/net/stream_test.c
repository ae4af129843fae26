/* SPDX-License-Identifier: Apache-2.0 */
#include "net/stream.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "fiber/fiber.h"

struct ends {
	int fd;           /* the far end, a plain blocking-free descriptor */
	struct stream *s; /* the near end */
	void (*run)(struct ends *e);
};

static void run_test(void *arg)
{
	struct ends *e = arg;

	e->run(e);
	stream_free(e->s);
	if (e->fd >= 0)
		close(e->fd);
}

static void run(void (*test)(struct ends *e))
{
	int fds[2];
	struct ends e = {.run = test};

	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	loop_init();
	e.fd = fds[1];
	e.s = stream_new(fds[0]);
	stream_set_timeout(e.s, duration_s(10));
	fiber_start("test", run_test, &e);
	loop_run();
	loop_done();
}

static void say(struct ends *e, struct str text)
{
	CHECK_INT(write(e->fd, text.ptr, text.len), (long long)text.len);
}

static void hang_up(struct ends *e)
{
	close(e->fd);
	e->fd = -1;
}

static void expect_line(struct ends *e, size_t max, int want_err, struct str want, bool want_bare)
{
	struct str line;
	bool is_bare;

	CHECK_INT(stream_read_line(e->s, max, &line, &is_bare), want_err);
	CHECK_STR(line, want);
	CHECK_INT(is_bare, want_bare);
}

static void reads_lines(struct ends *e)
{
	say(e, STR("one\r\ntwo\n\r\n\n\rfour\r\nrest"));
	expect_line(e, 100, 0, STR("one"), false);
	CHECK(stream_has_input(e->s));
	expect_line(e, 100, 0, STR("two"), true);
	expect_line(e, 100, 0, STR(""), false);
	expect_line(e, 100, 0, STR(""), true);
	expect_line(e, 100, 0, STR("\rfour"), false);
	hang_up(e);
	expect_line(e, 100, -EPIPE, STR(""), false);
}

TEST(lines_end_with_lf_and_a_missing_cr_is_told)
{
	run(reads_lines);
}

static void reads_long_lines(struct ends *e)
{
	static char text[200000];

	say(e, STR("12345\r\n123456\r\n12345\n1234567\nok\r\n"));
	expect_line(e, 5, 0, STR("12345"), false);
	expect_line(e, 5, -EMSGSIZE, STR("12345"), false);
	expect_line(e, 5, 0, STR("12345"), true);
	expect_line(e, 5, -EMSGSIZE, STR("12345"), true);
	expect_line(e, 5, 0, STR("ok"), false);
	memset(text, 'x', sizeof(text));
	text[100000] = '\n';
	say(e, str_n(text, sizeof(text)));
	expect_line(e, 3, -EMSGSIZE, STR("xxx"), true);
	say(e, STR("\r\nend\r\n"));
	expect_line(e, 70000, -EMSGSIZE, str_n(text, 70000), false);
	expect_line(e, 5, 0, STR("end"), false);
}

TEST(the_rest_of_a_long_line_is_skipped)
{
	run(reads_long_lines);
}

static bool had_turn;

static void take_turn(void *arg)
{
	had_turn = true;
}

static void reads_a_flood(struct ends *e)
{
	static char text[400000];
	int room = 400000;
	ssize_t sent;
	size_t got = 0;

	CHECK_INT(setsockopt(e->fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)), 0);
	sent = write(e->fd, text, sizeof(text));
	CHECK(sent > 200000);
	had_turn = false;
	fiber_start("other", take_turn, NULL);
	while (!had_turn && got < (size_t)sent) {
		CHECK_INT(stream_fill(e->s, 65536), 0);
		got += stream_peek(e->s).len;
		stream_skip(e->s, stream_peek(e->s).len);
	}
	CHECK(had_turn);
	CHECK(got < (size_t)sent);
}

TEST(who_reads_a_flood_gives_others_their_turn)
{
	run(reads_a_flood);
}

static void feeder(void *arg)
{
	struct ends *e = arg;
	static const char text[] = "slow line\r\nx";

	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		say(e, str_n(&text[i], 1));
		CHECK_INT(fiber_yield(), 0);
	}
	hang_up(e);
}

static void reads_slowly(struct ends *e)
{
	fiber_start("feeder", feeder, e);
	expect_line(e, 100, 0, STR("slow line"), false);
	expect_line(e, 100, -EPIPE, STR(""), false);
	expect_line(e, 100, -EPIPE, STR(""), false);
}

TEST(a_line_may_come_byte_by_byte_and_the_end_is_seen)
{
	run(reads_slowly);
}

static void times_out(struct ends *e)
{
	stream_set_timeout(e->s, duration_ms(5));
	expect_line(e, 100, -ETIMEDOUT, STR(""), false);
	stream_set_timeout(e->s, duration_s(100));
	stream_set_deadline(e->s, clock_deadline(duration_ms(5)));
	expect_line(e, 100, -ETIMEDOUT, STR(""), false);
	stream_set_deadline(e->s, INSTANT_NEVER);
	say(e, STR("late\r\n"));
	expect_line(e, 100, 0, STR("late"), false);
}

TEST(a_silent_peer_runs_into_timeout_and_deadline)
{
	run(times_out);
}

static void writes_before_reading(struct ends *e)
{
	char got[32];

	CHECK_INT(stream_write(e->s, STR("250 ")), 0);
	CHECK_INT(stream_printf(e->s, "%s\r\n", "ok"), 0);
	CHECK_INT(read(e->fd, got, sizeof(got)), -1);
	stream_set_timeout(e->s, duration_ms(1));
	expect_line(e, 100, -ETIMEDOUT, STR(""), false);
	CHECK_INT(read(e->fd, got, sizeof(got)), 8);
	CHECK_STR(str_n(got, 8), STR("250 ok\r\n"));
}

TEST(what_is_gathered_goes_out_before_a_read_waits)
{
	run(writes_before_reading);
}

static void drainer(void *arg)
{
	struct ends *e = arg;
	size_t total = 0;
	static char got[10000];

	while (total < 300003 + 5) {
		ssize_t n = read(e->fd, got, sizeof(got));

		if (n > 0)
			total += (size_t)n;
		else
			CHECK_INT(fiber_sleep(duration_ms(1)), 0);
	}
	CHECK_INT(total, 300008);
}

static void writes_much(struct ends *e)
{
	char *text = mem_alloc(300000);
	struct fiber *f = fiber_start("drainer", drainer, e);

	fiber_make_joinable(f);
	CHECK_INT(stream_write(e->s, STR("abc")), 0);
	CHECK_INT(stream_write(e->s, str_n(text, 300000)), 0);
	CHECK_INT(stream_write(e->s, STR("12345")), 0);
	CHECK_INT(stream_flush(e->s), 0);
	fiber_join(f);
	free(text);
}

TEST(much_output_waits_for_the_peer)
{
	run(writes_much);
}

static void writes_to_nobody(struct ends *e)
{
	hang_up(e);
	CHECK_INT(stream_write(e->s, STR("lost")), 0);
	CHECK_INT(stream_flush(e->s), -EPIPE);
	CHECK_INT(stream_write(e->s, STR("more")), -EPIPE);
}

TEST(the_first_write_error_sticks)
{
	run(writes_to_nobody);
}

static void peeks(struct ends *e)
{
	CHECK_INT(stream_peek(e->s).len, 0);
	say(e, STR("hello"));
	CHECK_STR(stream_peek(e->s), STR("hello"));
	stream_skip(e->s, 2);
	CHECK_STR(stream_peek(e->s), STR("llo"));
	say(e, STR(" world"));
	CHECK_INT(stream_fill(e->s, 100), 0);
	CHECK_STR(stream_peek(e->s), STR("llo world"));
	CHECK_INT(stream_fill(e->s, 9), -ENOBUFS);
	CHECK_INT(stream_discard_input(e->s), 9);
	CHECK(!stream_has_input(e->s));
	stream_idle(e->s);
	say(e, STR("again"));
	struct str bytes;
	CHECK_INT(stream_read_some(e->s, 3, &bytes), 0);
	CHECK_STR(bytes, STR("aga"));
}

TEST(input_can_be_looked_at_skipped_and_discarded)
{
	run(peeks);
}
