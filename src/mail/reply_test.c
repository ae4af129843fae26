/* SPDX-License-Identifier: Apache-2.0 */
#include "mail/reply.h"

#include <errno.h>

#include "check.h"

TEST(a_reply_is_taken_apart)
{
	struct reply r;

	CHECK_INT(reply_parse(STR("550 5.1.1 No such user"), &r), 0);
	CHECK_INT(r.code, 550);
	CHECK_INT(r.dsn.class_digit * 100 + r.dsn.subject * 10 + r.dsn.detail, 511);
	CHECK_STR(r.text, STR("No such user"));
	CHECK(!r.is_final);
}

TEST(the_enhanced_code_may_lack)
{
	struct reply r;

	CHECK_INT(reply_parse(STR("421 go away\r\n"), &r), 0);
	CHECK_INT(r.dsn.class_digit, 0);
	CHECK_STR(r.text, STR("go away"));
	CHECK(r.is_final);
	CHECK_INT(reply_parse(STR("250"), &r), 0);
	CHECK_STR(r.text, STR(""));
	CHECK_INT(reply_parse(STR("550 5.1.x bad"), &r), 0);
	CHECK_STR(r.text, STR("5.1.x bad"));
}

TEST(what_is_no_reply_is_refused)
{
	struct reply r;

	CHECK_INT(reply_parse(STR(""), &r), -EINVAL);
	CHECK_INT(reply_parse(STR("99 x"), &r), -EINVAL);
	CHECK_INT(reply_parse(STR("600 x"), &r), -EINVAL);
	CHECK_INT(reply_parse(STR("250x"), &r), -EINVAL);
	CHECK_INT(reply_parse(STR("2500"), &r), -EINVAL);
}

TEST(several_lines_carry_code_and_dsn_each)
{
	struct buf b = BUF_INIT(200);
	struct reply r = {.code = 554, .dsn = DSN(5, 7, 1), .text = STR("one\ntwo")};

	reply_format(&b, &r, true);
	CHECK_STR(buf_str(&b), STR("554-5.7.1 one\r\n554 5.7.1 two\r\n"));
	buf_reset(&b);
	reply_format(&b, &r, false);
	CHECK_STR(buf_str(&b), STR("554-one\r\n554 two\r\n"));
	buf_done(&b);
}

TEST(an_enhanced_code_moves_the_rest_on)
{
	struct str rest = STR("4.2.0 later");
	struct dsn_code code;

	CHECK_INT(dsn_code_parse(&rest, &code), 0);
	CHECK_STR(rest, STR("later"));
	rest = STR("3.1.1 x");
	CHECK_INT(dsn_code_parse(&rest, &code), -EINVAL);
	rest = STR("5.1234.1");
	CHECK_INT(dsn_code_parse(&rest, &code), -EINVAL);
	CHECK_STR(rest, STR("5.1234.1"));
}
