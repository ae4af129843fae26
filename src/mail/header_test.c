/* SPDX-License-Identifier: Apache-2.0 */
#include "mail/header.h"

#include "check.h"

TEST(headers_come_one_by_one_with_their_folds)
{
	struct str rest = STR("From: me\r\nSubject : a\r\n\tb\r\n c\r\n\r\nBody: no\r\n");
	struct header h;

	CHECK(header_next(&rest, &h));
	CHECK_STR(h.name, STR("From"));
	CHECK_STR(h.value, STR(" me"));
	CHECK_STR(h.whole, STR("From: me\r\n"));
	CHECK(header_next(&rest, &h));
	CHECK_STR(h.name, STR("Subject"));
	CHECK_STR(h.value, STR(" a\r\n\tb\r\n c"));
	CHECK(!header_next(&rest, &h));
	CHECK_STR(rest, STR("\r\nBody: no\r\n"));
}

TEST(what_is_no_header_ends_the_section)
{
	static const char *const texts[] = {"", "\r\n", "no colon\r\n", ": x\r\n", " folded: x\r\n", "two words: x\r\n"};
	struct header h;

	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		struct str rest = str_of(texts[i]);

		CHECK_CASE(!header_next(&rest, &h), texts[i]);
	}
}

TEST(an_unfinished_header_is_taken_as_it_is)
{
	struct str rest = STR("A:");
	struct header h;

	CHECK(header_next(&rest, &h));
	CHECK_STR(h.value, STR(""));
	CHECK_STR(rest, STR(""));
	rest = STR("A:\n\tb\n");
	CHECK(header_next(&rest, &h));
	CHECK_STR(h.value, STR("\n\tb"));
}

TEST(unfolding_joins_the_lines)
{
	struct buf b = BUF_INIT(100);

	header_unfold(&b, STR(" a\r\n\tb\n c \r\n"));
	CHECK_STR(buf_str(&b), STR("a\tb c"));
	buf_done(&b);
}

TEST(names_are_found_without_case)
{
	struct header h;

	CHECK(header_find(STR("A: 1\nMessage-ID: <x>\n\nB: 2\n"), STR("message-id"), &h));
	CHECK_STR(str_trim(h.value), STR("<x>"));
	CHECK(!header_find(STR("A: 1\n\nB: 2\n"), STR("B"), &h));
}
