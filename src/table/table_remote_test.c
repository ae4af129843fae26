/* SPDX-License-Identifier: Apache-2.0 */
/* socketmap and tcp tables against servers that answer by a script, on sockets of a folder and of 127.0.0.1. */
#include <errno.h>
#include <unistd.h>

#include "check.h"
#include "test_sockets.h"
#include "fiber/fiber.h"
#include "net/connect.h"
#include "net/ip.h"
#include "table/table.h"

/* What the server says to each question, in order; NULL hangs up. */
struct script {
	const char *const *answers;
	size_t count;
	size_t asked;
	size_t connections;
	char heard[200];
	int fd;
	void (*test)(struct script *s, struct table *t);
	struct str spec;
};

static void serve_one(void *arg)
{
	struct script *s = arg;
	struct watch w;

	watch_init_listener(&w, s->fd);
	for (;;) {
		struct stream *stream;
		struct str bytes;
		int fd;

		if (accept_next(&w, &fd))
			break;
		s->connections++;
		stream = stream_new(fd);
		while (s->asked < s->count && !stream_read_some(stream, 1000, &bytes)) {
			const char *answer = s->answers[s->asked++];

			snprintf(s->heard, sizeof(s->heard), "%.*s", STR_ARG(bytes));
			if (!answer || stream_write(stream, str_of(answer)) || stream_flush(stream))
				break;
		}
		stream_free(stream);
	}
	watch_done(&w);
}

static void run_test(void *arg)
{
	struct script *s = arg;
	struct buf why = BUF_INIT(1000);
	struct table *t;
	struct fiber *server = fiber_start("server", serve_one, s);

	CHECK_INT(table_open(s->spec, TABLE_FOLD, NULL, &t, &why), 0);
	s->test(s, t);
	table_close(t);
	fiber_cancel(server);
	buf_done(&why);
}

static void run_script(struct script *s)
{
	loop_init();
	fiber_start("test", run_test, s);
	loop_run();
	loop_done();
	close(s->fd);
}

static void run_local(struct script *s)
{
	struct buf path = BUF_INIT(200), spec = BUF_INIT(300);

	buf_addf(&path, "%s/socket", check_folder());
	buf_addf(&spec, "socketmap:unix:%s:map", buf_cstr(&path));
	s->fd = listen_local(buf_cstr(&path));
	s->spec = buf_str(&spec);
	run_script(s);
	buf_done(&path);
	buf_done(&spec);
}

/* "0 value", "-2 ", or only the error for others than these. */
static void expect(struct table *t, const char *key, int err, const char *value)
{
	struct buf why = BUF_INIT(1000);
	struct arena a = ARENA_INIT;
	struct str got = STR("");

	CHECK_INT(table_find(t, str_of(key), &a, &got, &why), err);
	CHECK_STR(got, str_of(value));
	CHECK((err == -EAGAIN) == (why.len > 0));
	arena_done(&a);
	buf_done(&why);
}

static void asks_twice(struct script *s, struct table *t)
{
	expect(t, "Key", 0, "some value");
	CHECK_STR(str_of(s->heard), STR("7:map Key,"));
	expect(t, "other", -ENOENT, "");
	CHECK_INT(s->connections, 1);
	CHECK(!table_is_fixed_key(t));
}

TEST(a_socketmap_answers_over_one_connection_and_sees_keys_as_they_are)
{
	static const char *const answers[] = {"13:OK some value,", "9:NOTFOUND ,"};

	run_local(&(struct script){.answers = answers, .count = 2, .test = asks_twice});
}

static void finds_errors(struct script *s, struct table *t)
{
	for (size_t i = 0; i < s->count; i++)
		expect(t, "key", -EAGAIN, "");
}

TEST(what_is_no_answer_is_a_failure_and_never_not_found)
{
	static const char *const answers[] = {
		"8:TEMP why,", "11:TIMEOUT why,", "8:PERM why,",  "3:OK ,",      "2:OK,",       "5:MAYBE,", "OK value",
		"-1:,",        "99999999999:",    "8:OK value,,", "999999:OK x", "8:OK value;", "x:OK,",
	};

	run_local(&(struct script){.answers = answers, .count = COUNT_OF(answers), .test = finds_errors});
}

static void survives_a_hang_up(struct script *s, struct table *t)
{
	expect(t, "key", 0, "first");
	expect(t, "key", 0, "second");
	CHECK_INT(s->connections, 2);
}

TEST(a_kept_connection_that_died_is_replaced)
{
	static const char *const answers[] = {"8:OK first,", NULL, "9:OK second,"};

	run_local(&(struct script){.answers = answers, .count = 3, .test = survives_a_hang_up});
}

static void finds_nobody(struct script *s, struct table *t)
{
	expect(t, "key", -EAGAIN, "");
}

TEST(a_server_that_is_not_there_is_a_failure)
{
	struct script s = {.test = finds_nobody, .spec = STR("socketmap:unix:/nonexistent/socket:map")};
	struct sockaddr_storage at;

	CHECK_INT(ip_parse(STR("127.0.0.1"), 0, &at), 0);
	CHECK_INT(listen_tcp((struct sockaddr *)&at, 10, &s.fd), 0);
	run_script(&s);
}

static void asks_tcp(struct script *s, struct table *t)
{
	expect(t, "a b%", 0, "x y");
	CHECK_STR(str_of(s->heard), STR("get a%20b%25\n"));
	expect(t, "key", -ENOENT, "");
	expect(t, "key", -EAGAIN, "");
	expect(t, "key", -EAGAIN, "");
}

TEST(a_tcp_table_speaks_in_lines)
{
	static const char *const answers[] = {"200 x%20y\n", "500 not%20found\n", "400 later\n", "nonsense\n"};
	struct script s = {.answers = answers, .count = 4, .test = asks_tcp};
	struct sockaddr_storage at;
	socklen_t size = sizeof(at);
	struct buf spec = BUF_INIT(100);

	CHECK_INT(ip_parse(STR("127.0.0.1"), 0, &at), 0);
	CHECK_INT(listen_tcp((struct sockaddr *)&at, 10, &s.fd), 0);
	CHECK_INT(getsockname(s.fd, (struct sockaddr *)&at, &size), 0);
	buf_addf(&spec, "tcp:127.0.0.1:%u", ip_port((struct sockaddr *)&at));
	s.spec = buf_str(&spec);
	run_script(&s);
	buf_done(&spec);
}

TEST(names_that_are_none_are_refused)
{
	static const char *const specs[] = {"socketmap:inet:host:1",
	                                    "socketmap:inet:host",
	                                    "socketmap:unix:/path",
	                                    "socketmap:other:a:b",
	                                    "socketmap:inet::1:name",
	                                    "socketmap:inet:[::1]:x:name",
	                                    "socketmap:inet:h:99999:n",
	                                    "tcp:host",
	                                    "tcp:host:1:2",
	                                    "tcp:[::1]25",
	                                    "socketmap:unix::name"};

	for (size_t i = 0; i < COUNT_OF(specs); i++) {
		struct buf why = BUF_INIT(1000);
		struct table *t;

		CHECK_CASE(table_open(str_of(specs[i]), TABLE_FOLD, NULL, &t, &why) == -EINVAL, specs[i]);
		CHECK_CASE(why.len > 0, specs[i]);
		buf_done(&why);
	}
}

TEST(tcp_tables_decide_nothing_about_security)
{
	struct buf why = BUF_INIT(1000);
	struct table *t;

	CHECK_INT(table_open(STR("tcp:127.0.0.1:1"), TABLE_FOLD | TABLE_PARANOID, NULL, &t, &why), -EINVAL);
	buf_done(&why);
}
