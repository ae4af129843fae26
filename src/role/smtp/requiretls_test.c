/* SPDX-License-Identifier: Apache-2.0 */
#include "role/smtp/requiretls.h"

#include <errno.h>

#include "check.h"
#include "table/table.h"

TEST(the_first_element_that_knows_the_destination_decides)
{
	static const char policy[] =
		"inline:{{a.example=opportunistic}, {.a.example=opportunistic+starttls}, {bad.example=junk}}, "
		"cidr:{{192.0.2.0/24 opportunistic}}, enforce, opportunistic";
	static const struct {
		char domain[30];
		int err;
		enum requiretls demand;
	} cases[] = {
		{"a.example", 0, REQUIRETLS_OPPORTUNISTIC},
		{"A.Example", 0, REQUIRETLS_OPPORTUNISTIC},
		{"x.y.a.example", 0, REQUIRETLS_STARTTLS},
		{"192.0.2.7", 0, REQUIRETLS_OPPORTUNISTIC},
		{"198.51.100.1", 0, REQUIRETLS_ENFORCE},
		{"b.example", 0, REQUIRETLS_ENFORCE},
		{"bad.example", -EINVAL, 0},
		{"", 0, REQUIRETLS_ENFORCE},
	};
	struct buf why = BUF_INIT(1000);
	struct arena a = ARENA_INIT;
	struct requiretls_policy *p;

	CHECK_INT(requiretls_policy_open(str_of(policy), TABLE_FOLD, NULL, &p, &why), 0);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		enum requiretls demand = REQUIRETLS_OPPORTUNISTIC;

		CHECK_CASE(requiretls_policy_find(p, str_of(cases[i].domain), &a, &demand, &why) == cases[i].err,
		           cases[i].domain);
		if (!cases[i].err)
			CHECK_CASE(demand == cases[i].demand, cases[i].domain);
	}
	requiretls_policy_close(p);
	arena_done(&a);
	buf_done(&why);
}

TEST(an_empty_policy_demands_everything_and_a_bad_one_is_refused)
{
	struct buf why = BUF_INIT(1000);
	struct arena a = ARENA_INIT;
	enum requiretls demand = REQUIRETLS_OPPORTUNISTIC;
	struct requiretls_policy *p;

	CHECK_INT(requiretls_policy_open(STR(""), TABLE_FOLD, NULL, &p, &why), 0);
	CHECK_INT(requiretls_policy_find(p, STR("a.example"), &a, &demand, &why), 0);
	CHECK_INT(demand, REQUIRETLS_ENFORCE);
	requiretls_policy_close(p);
	CHECK_INT(requiretls_policy_open(STR("inline:{a=enforce}, sometimes"), TABLE_FOLD, NULL, &p, &why), -EINVAL);
	CHECK(why.len > 0);
	arena_done(&a);
	buf_done(&why);
}
