/* SPDX-License-Identifier: Apache-2.0 */
#include "table/user_list.h"

#include "check.h"

TEST(users_are_matched_by_their_names)
{
	static const struct {
		const char *list;
		uid_t uid;
		int want;
	} cases[] = {
		{"static:anyone", 0, 1}, {"root", 0, 1}, {"!root, static:all", 0, 0}, {"nobody, root", 0, 1},
		{"nobody", 0, 0},        {"", 0, 0},     {"unknown", 3999999999, 1},  {"root", 3999999999, 0},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct buf why = BUF_INIT(1000);

		CHECK_CASE(user_list_check(str_of(cases[i].list), cases[i].uid, NULL, &why) == cases[i].want, cases[i].list);
		buf_done(&why);
	}
}
