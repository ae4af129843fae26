/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#include "check.h"

TEST(utf8_is_checked_to_the_letter)
{
	CHECK(utf8_is_valid(STR("plain \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80")));
	CHECK(!utf8_is_valid(STR("\xc0\xaf")));
	CHECK(!utf8_is_valid(STR("\xed\xa0\x80")));
	CHECK(!utf8_is_valid(STR("\xf4\x90\x80\x80")));
	CHECK(!utf8_is_valid(STR("\xe2\x82")));
	CHECK(!utf8_is_valid(STR("\x80")));
}

TEST(what_is_shown_holds_no_control_characters)
{
	static const struct {
		const char *text, *also, *want;
	} cases[] = {
		{"plain text, (all) of it", "", "plain text, (all) of it"},
		{"a\r\nb\tc\x1b[31m\x7f", "", "a??b?c?[31m?"},
		{"caf\xc3\xa9 \xe2\x82\xac", "", "caf\xc3\xa9 \xe2\x82\xac"},
		{"\xc2\x9b[2J\xc2\xa0", "", "??[2J\xc2\xa0"},
		{"\x80\xff\xe2\x82", "", "????"},
		{"a<b>\"c", "<>\"", "a?b??c"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[100];
		size_t len = strlen(cases[i].text);

		memcpy(text, cases[i].text, len);
		text_neutralize(text, len, cases[i].also);
		CHECK_STR(str_n(text, len), str_of(cases[i].want));
	}
}
