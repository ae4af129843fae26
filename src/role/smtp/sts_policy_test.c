/* SPDX-License-Identifier: Apache-2.0 */
#include "role/smtp/sts_policy.h"

#include <errno.h>

#include "check.h"
#include "table/table.h"

static int find(struct smtp_settings *s, const char *value, struct arena *a, struct tls_policy *p)
{
	struct buf why = BUF_INIT(1000);
	struct str table = arena_printf(a, "inline:{{a.example=%s}}", value);
	int err = maps_open(table, TABLE_FOLD, NULL, &s->tls_policies, &why);

	CHECK_INT(err, 0);
	if (!err)
		err = tls_policy_find(s, STR("a.example"), a, p, &why);
	maps_close(s->tls_policies);
	s->tls_policies = NULL;
	buf_done(&why);
	return err;
}

TEST(patterns_of_a_table_name_the_hosts_where_they_are_to_be_enforced)
{
	static const char value[] = "secure match=b.example policy_type=sts policy_domain=a.example servername=hostname "
				    "{ policy_string = version: STSv1 } { policy_string = mode: enforce } "
				    "mx_host_pattern=b.example mx_host_pattern=*.c.example";
	struct smtp_settings s = {.tls_level = STR("may"), .enforces_sts_patterns = true};
	struct arena a = ARENA_INIT;
	struct tls_policy p;

	CHECK_INT(find(&s, value, &a, &p), 0);
	CHECK(p.is_from_table && p.enforces_patterns);
	CHECK_INT(p.type, TLS_POLICY_STS);
	CHECK_STR(p.match, STR("hostname"));
	CHECK_STR(p.policy_strings, STR("version: STSv1\nmode: enforce"));
	CHECK(sts_policy_names_host(&p, STR("b.example")));
	CHECK(sts_policy_names_host(&p, STR("x.c.example")));
	CHECK(!sts_policy_names_host(&p, STR("c.example")));
	s.enforces_sts_patterns = false;
	CHECK_INT(find(&s, value, &a, &p), 0);
	CHECK(!p.enforces_patterns);
	CHECK_STR(str_trim(p.match), STR("b.example"));
	arena_done(&a);
}

TEST(attributes_that_do_not_fit_make_the_policy_bad)
{
	static const struct {
		const char *value;
		int err;
	} cases[] = {
		{"may policy_type=no-policy-found policy_domain=a.example", 0},
		{"may policy_type=sts policy_failure=sts-policy-invalid", 0},
		{"may policy_domain=a.example", -EINVAL},
		{"secure mx_host_pattern=a.example", -EINVAL},
		{"may policy_type=tlsa", -EINVAL},
		{"may policy_type=sts policy_type=sts", -EINVAL},
		{"may policy_type=sts policy_ttl=1 policy_ttl=2", -EINVAL},
		{"may policy_type=sts policy_type=", -EINVAL},
	};
	struct smtp_settings s = {.tls_level = STR("may"), .tls_secure_match = STR("nexthop")};
	struct arena a = ARENA_INIT;
	struct tls_policy p;

	for (size_t i = 0; i < COUNT_OF(cases); i++)
		CHECK_CASE(find(&s, cases[i].value, &a, &p) == cases[i].err, cases[i].value);
	arena_done(&a);
}

TEST(our_own_policies_have_a_say_where_the_operator_left_it_open)
{
	static const struct {
		enum client_tls level;
		bool is_from_table, applies;
	} cases[] = {
		{CLIENT_TLS_NONE, false, false},        {CLIENT_TLS_MAY, false, true},     {CLIENT_TLS_MAY, true, false},
		{CLIENT_TLS_ENCRYPT, false, true},      {CLIENT_TLS_DANE, false, true},    {CLIENT_TLS_DANE_ONLY, false, false},
		{CLIENT_TLS_FINGERPRINT, false, false}, {CLIENT_TLS_VERIFY, false, false}, {CLIENT_TLS_SECURE, false, false}};
	struct smtp_settings s = {.uses_sts = true};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct tls_policy p = {.level = cases[i].level, .is_from_table = cases[i].is_from_table};

		CHECK_INT(sts_policy_applies(&s, &p), cases[i].applies);
	}
	s.uses_sts = false;
	CHECK(!sts_policy_applies(&s, &(struct tls_policy){.level = CLIENT_TLS_MAY}));
}

TEST(a_policy_demands_what_its_mode_says)
{
	struct arena a = ARENA_INIT;
	struct tls_policy enforced = {.level = CLIENT_TLS_MAY, .domain = STR("a.example")}, tested = enforced, none = enforced;

	sts_policy_apply(&enforced, STR("version: STSv1\nmode: enforce\nmx: b.example\nmax_age: 1\n"), &a);
	CHECK_INT(enforced.level, CLIENT_TLS_SECURE);
	CHECK_STR(enforced.match, STR("hostname"));
	CHECK_STR(enforced.servername, STR("hostname"));
	CHECK_STR(enforced.mx_patterns, STR("b.example"));
	CHECK_STR(enforced.policy_strings, STR("version: STSv1\nmode: enforce\nmx: b.example\nmax_age: 1"));
	CHECK(enforced.enforces_patterns && !enforced.is_sts_test);
	sts_policy_apply(&tested, STR("version: STSv1\nmode: testing\nmx: b.example\nmax_age: 1\n"), &a);
	CHECK_INT(tested.level, CLIENT_TLS_MAY);
	CHECK_INT(tested.type, TLS_POLICY_STS);
	CHECK(!tested.enforces_patterns && tested.is_sts_test);
	sts_policy_apply(&none, STR("version: STSv1\nmode: none\nmax_age: 1\n"), &a);
	CHECK_INT(none.level, CLIENT_TLS_MAY);
	CHECK_INT(none.type, TLS_POLICY_NONE);
	arena_done(&a);
}

TEST(a_policy_of_very_many_lines_takes_no_more_memory_than_a_few_of_its_size)
{
	struct buf text = BUF_INIT(65536);
	struct arena a = ARENA_INIT;
	struct tls_policy p = {.level = CLIENT_TLS_MAY, .domain = STR("a.example")};

	buf_add(&text, STR("version: STSv1\nmode: enforce\nmax_age: 1\n"));
	for (int i = 0; i < 900; i++)
		buf_addf(&text, "mx: h%d.example\n", i);
	while (text.len < 65000)
		buf_add(&text, STR("x:y\n"));
	sts_policy_apply(&p, buf_str(&text), &a);
	CHECK(p.enforces_patterns && sts_policy_names_host(&p, STR("h899.example")));
	CHECK(str_ends(p.policy_strings, STR("\nx:y")));
	CHECK(arena_used(&a) < 10 * text.len);
	buf_done(&text);
	arena_done(&a);
}
