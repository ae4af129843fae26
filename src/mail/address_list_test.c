/* SPDX-License-Identifier: Apache-2.0 */
#include "mail/address_list.h"

#include "base/base.h"
#include "base/buf.h"
#include "check.h"

static const char *const cases[][2] = {
	{"a@b", "a@b"},
	{" a@b, Fred <c@d>,\"x, y\" <e@f>", "a@b|c@d|e@f"},
	{"(x, y) a@b (z)", "a@b"},
	{"friends: a@b, c@d; e@f", "a@b|c@d|e@f"},
	{"\"a b\"@c", "\"a b\"@c"},
	{"<@one,@two:a@b>", "@one,@two:a@b"},
	{"<>", ""},
	{"undisclosed-recipients:;", ""},
	{"Fred Foobar", ""},
	{"fred", "fred"},
	{"a@[192.0.2.1], b@[x,y]", "a@[192.0.2.1]|b@[x,y]"},
	{"\r\n\ta@b,\r\n\tc@d", "a@b|c@d"},
	{"Fred <a@b", "a@b"},
	{"\"open a@b", "\"open a@b"},
	{",,;", ""},
};

TEST(addresses_are_found_in_lists)
{
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct address_list l = {.text = str_of(cases[i][0])};
		struct buf b = BUF_INIT(200);
		struct str spec;

		while (address_list_next(&l, &spec)) {
			if (b.len > 0)
				buf_add_char(&b, '|');
			buf_add(&b, spec);
		}
		CHECK_STR(buf_str(&b), str_of(cases[i][1]));
		buf_done(&b);
	}
}
