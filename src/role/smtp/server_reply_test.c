/* SPDX-License-Identifier: Apache-2.0 */
#include "role/smtp/server_reply.h"

#include "check.h"

/* Feeds the lines of `text`; returns how many were taken until the reply was whole. */
static int feed(struct server_reply *r, const char *text)
{
	struct str rest = str_of(text), line;
	int count = 0;

	server_reply_reset(r);
	while (str_next(&rest, "\n", &line)) {
		count++;
		if (server_reply_add(r, line))
			return count;
	}
	return -1;
}

TEST(replies_of_one_and_more_lines_are_read)
{
	static const struct {
		char text[120];
		int lines, code;
		char dsn[10], whole[120];
	} cases[] = {
		{"250 2.1.0 Ok", 1, 250, "2.1.0", "250 2.1.0 Ok"},
		{"250", 1, 250, "2.0.0", "250"},
		{"550-5.1.1 No such\n550 5.1.1 user", 2, 550, "5.1.1", "550-5.1.1 No such 550 5.1.1 user"},
		{"550 2.1.1 Lies", 1, 550, "5.0.0", "550 2.1.1 Lies"},
		{"354 go on", 1, 354, "2.0.0", "354 go on"},
		{"452 4.5.3 too many\tof \001them", 1, 452, "4.5.3", "452 4.5.3 too many of ?them"},
		{"hello\n250 x", 1, 0, "4.0.0", "hello"},
		{"250-a\n!\n250 b", 2, 0, "4.0.0", "250-a !"},
		{"199 x", 1, 0, "4.0.0", "199 x"},
		{"600 x", 1, 0, "4.0.0", "600 x"},
		{"2500", 1, 0, "4.0.0", "2500"},
		{"421-bye\n", -1, 421, "4.0.0", "421-bye"},
	};
	struct server_reply r;
	struct arena a = ARENA_INIT;

	server_reply_init(&r);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		CHECK_CASE(feed(&r, cases[i].text) == cases[i].lines, cases[i].text);
		CHECK_CASE(r.code == cases[i].code, cases[i].text);
		CHECK_STR(server_reply_dsn(&r, &a), str_of(cases[i].dsn));
		CHECK_STR(server_reply_text(&r, &a), str_of(cases[i].whole));
	}
	server_reply_done(&r);
	arena_done(&a);
}

TEST(a_reply_without_end_is_given_up)
{
	struct server_reply r;
	unsigned lines = 1;

	server_reply_init(&r);
	while (!server_reply_add(&r, STR("250-and on and on and on and on and on and on and on and on and on and on")))
		lines++;
	CHECK_INT(lines, SERVER_REPLY_LINES_MAX);
	CHECK_INT(r.code, 0);
	CHECK(r.text.len <= SERVER_REPLY_MAX);
	server_reply_done(&r);
}

TEST(ehlo_keywords_are_found_and_can_be_discarded)
{
	struct server_reply r;
	struct ehlo e;

	server_reply_init(&r);
	CHECK_INT(
		feed(&r, "250-mx.example.org hello\n250-PIPELINING\n250-SIZE 1000\n250-starttls\n250-AUTH=PLAIN LOGIN\n250 DSN"),
		6);
	ehlo_parse(&r, STR(""), &e);
	CHECK_INT(e.keywords, EHLO_PIPELINING | EHLO_SIZE | EHLO_STARTTLS | EHLO_AUTH | EHLO_DSN);
	CHECK_INT(e.size_limit, 1000);
	CHECK_STR(e.auth, STR("PLAIN LOGIN"));
	CHECK_STR(e.name, STR("mx.example.org"));
	ehlo_parse(&r, STR("pipelining, dsn"), &e);
	CHECK_INT(e.keywords, EHLO_SIZE | EHLO_STARTTLS | EHLO_AUTH);
	CHECK_INT(feed(&r, "250"), 1);
	ehlo_parse(&r, STR(""), &e);
	CHECK_INT(e.keywords, 0);
	CHECK_STR(e.name, STR(""));
	server_reply_done(&r);
}
