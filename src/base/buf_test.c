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
