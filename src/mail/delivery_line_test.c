/* SPDX-License-Identifier: Apache-2.0 */
#include "mail/delivery_line.h"

#include "check.h"

TEST(delays_have_two_significant_digits)
{
	static const struct {
		int64_t us;
		int digits;
		const char *want;
	} cases[] = {
		{0, 2, "0"},           {4000, 2, "0"},      {5000, 2, "0.01"},     {44000, 2, "0.04"},  {123456, 2, "0.12"},
		{100000, 2, "0.1"},    {1234567, 2, "1.2"}, {1960000, 2, "2"},     {9940000, 2, "9.9"}, {12345678, 2, "12"},
		{345600000, 2, "346"}, {-5, 2, "0"},        {1234, 6, "0.001234"}, {1500000, 0, "2"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct buf b = BUF_INIT(100);

		delay_format(&b, cases[i].us, cases[i].digits);
		CHECK_STR(buf_str(&b), str_of(cases[i].want));
		buf_done(&b);
	}
}

TEST(a_line_has_its_fields_in_order)
{
	struct delivery_line l = {
		.queue_id = STR("4X"),
		.address = STR("a b@example.org"),
		.original = STR("team@example.com"),
		.relay = STR("mx[192.0.2.1]:25"),
		.conn_use = 2,
		.arrival = {1000000},
		.active = {1100000},
		.started = {1110000},
		.connected = {1310000},
		.ended = {3310000},
		.digits = 2,
		.dsn = STR("2.0.0"),
		.status = STR("sent"),
		.text = STR("250 ok\nqueued\r"),
	};
	struct buf b = BUF_INIT(1000);

	delivery_line_format(&b, &l);
	CHECK_STR(buf_str(&b),
	          STR("4X: to=<\"a b\"@example.org>, orig_to=<team@example.com>, relay=mx[192.0.2.1]:25, conn_use=2, "
	              "delay=2.3, delays=0.1/0.01/0.2/2, dsn=2.0.0, status=sent (250 ok queued?)"));
	buf_reset(&b);
	l.original = STR("A B@EXAMPLE.ORG");
	l.conn_use = 1;
	l.started = l.connected = (struct wall_time){0};
	l.tls = STR("may");
	delivery_line_format(&b, &l);
	CHECK_STR(buf_str(&b),
	          STR("4X: to=<\"a b\"@example.org>, relay=mx[192.0.2.1]:25, delay=2.3, delays=0.1/2.2/0/0, tls=may, "
	              "dsn=2.0.0, status=sent (250 ok queued?)"));
	buf_done(&b);
}
