/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <errno.h>

#include "check.h"

TEST(what_does_not_fit_is_dropped_and_remembered)
{
	struct buf b = BUF_INIT(5);

	buf_add(&b, STR("abc"));
	CHECK_INT(buf_check(&b), 0);
	buf_add(&b, STR("def"));
	CHECK_INT(buf_check(&b), -EMSGSIZE);
	CHECK_STR(buf_str(&b), STR("abc"));
	buf_reset(&b);
	buf_addf(&b, "%d", 12345);
	CHECK_INT(buf_check(&b), 0);
	CHECK_STR(buf_str(&b), STR("12345"));
	buf_done(&b);
}

TEST(cursors_read_back_what_was_added)
{
	struct buf b = BUF_INIT(100);
	struct cursor c;

	buf_add_u8(&b, 200);
	buf_add_u16(&b, 60000);
	buf_add_u32(&b, 4000000000u);
	buf_add_u64(&b, 1ull << 63);
	buf_add_lstr(&b, STR("text"));
	c = (struct cursor){buf_str(&b), false};
	CHECK_INT(cursor_u8(&c), 200);
	CHECK_INT(cursor_u16(&c), 60000);
	CHECK(cursor_u32(&c) == 4000000000u);
	CHECK(cursor_u64(&c) == 1ull << 63);
	CHECK_STR(cursor_lstr(&c), STR("text"));
	CHECK(!c.is_bad);
	CHECK_INT(cursor_u8(&c), 0);
	CHECK(c.is_bad);
	buf_done(&b);
}

TEST(shifting_keeps_the_tail)
{
	struct buf b = BUF_INIT(100);

	buf_add(&b, STR("abcdef"));
	buf_shift(&b, 2);
	CHECK_STR(buf_str(&b), STR("cdef"));
	buf_shift(&b, 99);
	CHECK_INT(b.len, 0);
	buf_done(&b);
}

TEST(lent_memory_is_left_when_it_is_too_small)
{
	char room[8];
	struct buf b;

	buf_init_on(&b, room, sizeof(room), 100);
	CHECK_STR(buf_str(&b), STR(""));
	buf_add(&b, STR("1234567"));
	CHECK(b.ptr == room);
	buf_add(&b, STR("89"));
	CHECK(b.ptr != room);
	CHECK_STR(buf_str(&b), STR("123456789"));
	buf_done(&b);
	buf_add(&b, STR("again"));
	CHECK_STR(buf_str(&b), STR("again"));
	buf_done(&b);
}

TEST(lent_memory_is_not_given_away)
{
	char room[8];
	struct buf b;
	char *text;

	buf_init_on(&b, room, sizeof(room), 100);
	buf_add(&b, STR("text"));
	text = buf_take(&b);
	CHECK(text != room);
	CHECK_STR(str_of(text), STR("text"));
	free(text);
}

TEST(a_maximum_below_the_lent_memory_holds)
{
	char room[8];
	struct buf b;

	buf_init_on(&b, room, sizeof(room), 3);
	buf_add(&b, STR("abcd"));
	CHECK_INT(buf_check(&b), -EMSGSIZE);
	buf_add(&b, STR("abc"));
	CHECK_STR(buf_str(&b), STR("abc"));
	buf_done(&b);
}

/* The same text by buf_addf() and by printf. */
#define CHECK_FORMAT(...) \
	do { \
		struct buf b_ = BUF_INIT(200); \
		char likewise_[200]; \
		snprintf(likewise_, sizeof(likewise_), __VA_ARGS__); \
		buf_addf(&b_, __VA_ARGS__); \
		CHECK_STR(buf_str(&b_), str_of(likewise_)); \
		buf_done(&b_); \
	} while (0)

TEST(formats_are_those_of_printf)
{
	CHECK_FORMAT("plain");
	CHECK_FORMAT("%s and %s", "one", "two");
	CHECK_FORMAT("[%.*s]", 2, "cut");
	CHECK_FORMAT("[%.*s]", 9, "whole");
	CHECK_FORMAT("[%.*s]", -1, "no limit");
	CHECK_FORMAT("%d %d %d %d", 0, -1, 2147483647, -2147483647 - 1);
	CHECK_FORMAT("%u %zu %c%%", 4294967295u, (size_t)7, 'x');
	CHECK_FORMAT("%lld %lld %llu", -9223372036854775807ll - 1, 9223372036854775807ll, 18446744073709551615ull);
	CHECK_FORMAT("%x %x %llx", 0u, 0xdeadbeefu, 0xfedcba9876543210ull);
	CHECK_FORMAT("%02d %02d %02d %02d", 0, 7, 12, -5);
	CHECK_FORMAT("%s=%08x, %-6s|%5d|%ld", "hex", 255u, "left", 42, -3l);
	CHECK_FORMAT("%.3f at the end, after %s", 1.5, "text");
}

TEST(a_formatted_text_that_does_not_fit_leaves_nothing)
{
	struct buf b = BUF_INIT(5);

	buf_addf(&b, "%s%s", "abc", "def");
	CHECK_INT(buf_check(&b), -EMSGSIZE);
	CHECK_STR(buf_str(&b), STR(""));
	buf_addf(&b, "%s", "abc");
	CHECK_STR(buf_str(&b), STR("abc"));
	CHECK_INT(buf_check(&b), -EMSGSIZE);
	buf_done(&b);
}
