/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>

#include "check.h"
#include "table/table.h"

static int ask(const char *list, enum match_kind kind, unsigned flags, const char *name)
{
	struct buf why = BUF_INIT(1024);
	struct match_list *l;
	int result = match_list_open(str_of(list), kind, flags, NULL, &l, &why);

	if (result == 0) {
		result = match_list_check(l, str_of(name), &why);
		match_list_close(l);
	}
	buf_done(&why);
	return result;
}

TEST(lists_match_as_their_kind_says)
{
	static const struct {
		const char *list;
		enum match_kind kind;
		unsigned flags;
		const char *name;
		int want;
	} cases[] = {
		{"", MATCH_DOMAIN, 0, "a.example", 0},
		{"a.example, B.example", MATCH_DOMAIN, 0, "b.EXAMPLE", 1},
		{"example", MATCH_DOMAIN, 0, "a.example", 0},
		{"example", MATCH_DOMAIN, MATCH_PARENTS, "x.a.example", 1},
		{".example", MATCH_DOMAIN, 0, "x.a.example", 1},
		{".example", MATCH_DOMAIN, 0, "example", 0},
		{"!a.example .example", MATCH_DOMAIN, 0, "a.example", 0},
		{"!a.example .example", MATCH_DOMAIN, 0, "b.example", 1},
		{"inline:{a.example=x}", MATCH_DOMAIN, MATCH_PARENTS, "b.a.example", 1},
		{"inline:{.a.example=x}", MATCH_DOMAIN, 0, "b.a.example", 1},
		{"inline:{a.example=x}", MATCH_DOMAIN, 0, "b.a.example", 0},
		{"fail:x", MATCH_DOMAIN, 0, "b.a.example", -EAGAIN},
		{"a fail:x", MATCH_STRING, 0, "a", 1},
		{"127.0.0.0/8 [::1]/128", MATCH_ADDRESS, 0, "127.0.0.5", 1},
		{"127.0.0.0/8 [::1]/128", MATCH_ADDRESS, 0, "::1", 1},
		{"127.0.0.0/8 ::1", MATCH_ADDRESS, 0, "::1", 1},
		{"127.0.0.0/8 [::1]/128", MATCH_ADDRESS, 0, "128.0.0.1", 0},
		{"!10.0.0.1 10.0.0.0/8", MATCH_ADDRESS, 0, "10.0.0.1", 0},
		{"!10.0.0.1 10.0.0.0/8", MATCH_ADDRESS, 0, "10.0.0.2", 1},
		{"10.0.0.1/8", MATCH_ADDRESS, 0, "10.0.0.1", -EINVAL},
		{"cidr:{{10.0.0.0/8 x}}", MATCH_ADDRESS, 0, "10.0.0.2", 1},
		{"static:all", MATCH_USER, 0, "bob", 1},
		{"!bob, static:all", MATCH_USER, 0, "bob", 0},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		int got = ask(cases[i].list, cases[i].kind, cases[i].flags, cases[i].name);

		if (got != cases[i].want)
			check_failed(__FILE__, __LINE__, "case %zu: \"%s\" asked for %s: %d", i, cases[i].list, cases[i].name,
			             got);
	}
}

TEST(a_list_may_stand_in_a_file)
{
	char path[256], list[300];
	FILE *f;

	snprintf(path, sizeof(path), "%s/list", check_folder());
	f = fopen(path, "w");
	fputs("# ours\na.example\n!b.example, c.example\n", f);
	fclose(f);
	snprintf(list, sizeof(list), "%s d.example", path);
	CHECK_INT(ask(list, MATCH_DOMAIN, 0, "a.example"), 1);
	CHECK_INT(ask(list, MATCH_DOMAIN, 0, "b.example"), 0);
	CHECK_INT(ask(list, MATCH_DOMAIN, 0, "c.example"), 1);
	CHECK_INT(ask(list, MATCH_DOMAIN, 0, "d.example"), 1);
	snprintf(list, sizeof(list), "!%s d.example", path);
	CHECK_INT(ask(list, MATCH_DOMAIN, 0, "a.example"), 0);
	CHECK_INT(ask("/nonexistent/x", MATCH_DOMAIN, 0, "d.example"), -ENOENT);
}
