/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include <errno.h>
#include <stdlib.h>

#include "check.h"

TEST(tokens_are_taken_off_the_front)
{
	struct str rest = STR(" a, b,c "), token;

	CHECK(str_next(&rest, ", ", &token));
	CHECK_STR(token, STR("a"));
	CHECK(str_next(&rest, ", ", &token));
	CHECK_STR(token, STR("b"));
	CHECK(str_next(&rest, ", ", &token));
	CHECK_STR(token, STR("c"));
	CHECK(!str_next(&rest, ", ", &token));
}

TEST(braces_keep_separators_together)
{
	struct str rest = STR("a {b, {c} d}, e"), token;

	CHECK(str_next_braced(&rest, ", ", &token));
	CHECK(str_next_braced(&rest, ", ", &token));
	CHECK_STR(token, STR("{b, {c} d}"));
	CHECK(str_next_braced(&rest, ", ", &token));
	CHECK_STR(token, STR("e"));
}

TEST(numbers_are_digits_only)
{
	unsigned long long value = 7;

	CHECK_INT(str_parse_u64(STR("0042"), &value), 0);
	CHECK_INT(value, 42);
	CHECK_INT(str_parse_u64(STR("4x"), &value), -EINVAL);
	CHECK_INT(str_parse_u64(STR(""), &value), -EINVAL);
	CHECK_INT(str_parse_u64(STR("99999999999999999999"), &value), -ERANGE);
	CHECK_INT(value, 42);
}

TEST(absent_strings_are_empty)
{
	struct str none = {0};

	CHECK(str_is_empty(none));
	CHECK(str_eq(none, STR("")));
	CHECK(str_is_empty(str_trim(none)));
	CHECK(str_is_empty(str_from(none, 3)));
	CHECK_INT(str_find(none, 'x'), 0);
	free(str_cstr(none));
}

TEST(searches_answer_the_length_when_nothing_is_found)
{
	CHECK_INT(str_find(STR("a@b"), '@'), 1);
	CHECK_INT(str_find(STR("ab"), '@'), 2);
	CHECK_INT(str_find_last(STR("a@b@c"), '@'), 3);
	CHECK_INT(str_find_str(STR("hello"), STR("llo")), 2);
	CHECK_INT(str_find_str(STR("hello"), STR("lo!")), 5);
	CHECK(str_ends_nocase(STR("A.Example"), STR(".eXAMPLE")));
}

TEST(a_list_has_a_word_or_not)
{
	static const char list[] = "one, Two\tthree\nfour";

	CHECK(str_list_has(str_of(list), STR("two")));
	CHECK(str_list_has(str_of(list), STR("FOUR")));
	CHECK(str_list_has_exactly(str_of(list), STR("Two")));
	CHECK(!str_list_has_exactly(str_of(list), STR("two")));
	CHECK(!str_list_has(str_of(list), STR("thr")));
	CHECK(!str_list_has(str_of(list), STR("")));
	CHECK(!str_list_has(STR(""), STR("one")));
}
