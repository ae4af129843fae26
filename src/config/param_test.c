/* SPDX-License-Identifier: Apache-2.0 */
/* The table of parameters. */
#include "config/param.h"

#include "base/base.h"
#include "check.h"

TEST(the_table_is_sorted_and_every_name_is_found)
{
	for (size_t i = 0; i < param_count; i++) {
		CHECK(param_find(param_table[i].name) == &param_table[i]);
		CHECK(i == 0 || str_cmp(param_table[i - 1].name, param_table[i].name) < 0);
	}
	CHECK(param_find(STR("nosuch")) == NULL);
	CHECK(param_find(STR("")) == NULL);
}

TEST(a_family_is_found_by_its_longest_ending)
{
	struct str transport;
	const struct param *p = param_find_family(STR("my_own_destination_recipient_limit"), &transport);

	CHECK(p != NULL);
	CHECK_STR(p ? p->name : STR(""), STR("transport_destination_recipient_limit"));
	CHECK_STR(transport, STR("my_own"));
	CHECK(param_find_family(STR("myhostname"), &transport) == NULL);
}

TEST(near_names_are_suggested_and_far_ones_not)
{
	static const struct {
		const char *name, *want;
	} cases[] = {
		{"smtpd_banne", "smtpd_banner"},
		{"my_hostname", "myhostname"},
		{"append_dot_my_domain", "append_dot_mydomain"},
		{"broken_sasl_atuh_clients", "broken_sasl_auth_clients"},
		{"completely_different_name", NULL},
		{"x", NULL},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const struct param *p = param_suggest(str_of(cases[i].name));

		CHECK_CASE((p == NULL) == (cases[i].want == NULL), cases[i].name);
		if (p && cases[i].want)
			CHECK_STR(p->name, str_of(cases[i].want));
	}
}
