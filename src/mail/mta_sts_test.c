/* SPDX-License-Identifier: Apache-2.0 */
#include "mail/mta_sts.h"

#include <errno.h>

#include "check.h"

static const char good[] = "version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.Example.NET\nmax_age: 604800\n";

static int parse(const char *text, struct arena *a, struct sts_policy *p)
{
	struct buf why = BUF_INIT(1000);
	int err = sts_policy_parse(str_of(text), a, p, &why);

	CHECK((err != 0) == (why.len > 0));
	buf_done(&why);
	return err;
}

TEST(a_policy_tells_mode_age_and_hosts)
{
	struct arena a = ARENA_INIT;
	struct sts_policy p;

	CHECK_INT(parse(good, &a, &p), 0);
	CHECK_INT(p.mode, STS_MODE_ENFORCE);
	CHECK_INT(p.max_age, 604800);
	CHECK_INT(p.mx_count, 2);
	CHECK_STR(p.mx[0], STR("mail.example.com"));
	CHECK_STR(p.mx[1], STR("*.example.net"));
	arena_done(&a);
}

TEST(line_ends_unknown_fields_and_blanks_are_as_free_as_the_rfc_makes_them)
{
	static const char *const texts[] = {
		"version:STSv1\r\nmode:testing\r\nmx:a.example\r\nmax_age:1\r\n",
		"version: STSv1 \nmode: testing\t\nmx: a.example\nmax_age: 1",
		"future-field: caf\xc3\xa9 au lait\nversion: STSv1\nmode: testing\nmx: a.example\nmax_age: 1\n\n",
		"version: STSv1\nmode: testing\nmode: enforce\nmx: a.example\nmax_age: 1\nmax_age: junk\nversion: STSv2\n",
	};
	struct arena a = ARENA_INIT;
	struct sts_policy p;

	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		CHECK_INT(parse(texts[i], &a, &p), 0);
		CHECK_INT(p.mode, STS_MODE_TESTING);
		CHECK_INT(p.max_age, 1);
	}
	arena_done(&a);
}

TEST(what_is_no_policy_is_refused)
{
	static const char *const texts[] = {
		"",
		"mode: enforce\nmx: a.example\nmax_age: 1\n",
		"version: STSv2\nmode: enforce\nmx: a.example\nmax_age: 1\n",
		"version: STSv1\nmx: a.example\nmax_age: 1\n",
		"version: STSv1\nmode: Enforce\nmx: a.example\nmax_age: 1\n",
		"version: STSv1\nmode: enforce\nmx: a.example\n",
		"version: STSv1\nmode: enforce\nmax_age: 1\n",
		"version: STSv1\nmode: enforce\nmx: a.example\nmax_age: 12345678901\n",
		"version: STSv1\nmode: enforce\nmx: a.example\nmax_age: -1\n",
		"version: STSv1\nmode: enforce\nmx: a.*.example\nmax_age: 1\n",
		"version: STSv1\nmode: enforce\nmx: *example\nmax_age: 1\n",
		"version: STSv1\nmode: enforce\nmx: a..example\nmax_age: 1\n",
		"version: STSv1\nmode: enforce\nmx: [192.0.2.1]\nmax_age: 1\n",
		"version: STSv1\n\nmode: enforce\nmx: a.example\nmax_age: 1\n",
		"version: STSv1\nmode: enforce\nmx: a.example\nmax_age: 1\nextra: a\001b\n",
		"version: STSv1\nmode: enforce\nmx: a.example\nmax_age: 1\nno field\n",
		"<html>\n",
	};
	struct arena a = ARENA_INIT;
	struct sts_policy p;

	for (size_t i = 0; i < COUNT_OF(texts); i++)
		CHECK_INT(parse(texts[i], &a, &p), -EINVAL);
	arena_done(&a);
}

TEST(an_age_beyond_a_year_is_a_year_and_mode_none_needs_no_hosts)
{
	struct arena a = ARENA_INIT;
	struct sts_policy p;

	CHECK_INT(parse("version: STSv1\nmode: none\nmax_age: 9999999999\n", &a, &p), 0);
	CHECK_INT(p.max_age, STS_AGE_MAX);
	arena_done(&a);
}

TEST(only_200_with_plain_text_is_an_answer)
{
	static const struct {
		long status;
		const char *type;
		int err;
	} cases[] = {{200, "text/plain", 0},       {200, "Text/Plain; charset=utf-8", 0}, {200, "text/html", -EPROTO},
	             {200, "", -EPROTO},           {200, "text/plainer", -EPROTO},        {301, "text/plain", -EPROTO},
	             {404, "text/plain", -EPROTO}, {204, "text/plain", -EPROTO}};
	struct arena a = ARENA_INIT;
	struct sts_policy p;

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct buf why = BUF_INIT(1000);

		CHECK_INT(sts_answer_parse(cases[i].status, str_of(cases[i].type), str_of(good), &a, &p, &why), cases[i].err);
		buf_done(&why);
	}
	arena_done(&a);
}

TEST(a_record_tells_the_id)
{
	static const struct {
		const char *text;
		const char *id; /* NULL: refused */
	} cases[] = {
		{"v=STSv1; id=20160831085700Z;", "20160831085700Z"},
		{"v=STSv1;id=1", "1"},
		{"v=STSv1 ; x-y=z ; id=1 ; ", "1"},
		{"v=STSv1; id=1; id=2", "1"},
		{"v=STSv1;", NULL},
		{"v=STSv1; id=", NULL},
		{"v=STSv1; id=a-b", NULL},
		{"v=STSv1; id=123456789012345678901234567890123", NULL},
		{"v=STSv1; junk; id=1", NULL},
		{"V=STSv1; id=1", NULL},
		{"v=STSv11; id=1", NULL},
		{"id=1; v=STSv1", NULL},
		{"v=spf1 -all", NULL},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct str id = STR("?");
		int err = sts_record_parse(str_of(cases[i].text), &id);

		CHECK_INT(err, cases[i].id ? 0 : -EINVAL);
		if (cases[i].id)
			CHECK_STR(id, str_of(cases[i].id));
	}
}

TEST(a_wildcard_stands_for_one_label)
{
	CHECK(sts_pattern_matches(STR("mx.example.com"), STR("MX.example.com")));
	CHECK(sts_pattern_matches(STR("*.example.com"), STR("a.Example.com.")));
	CHECK(!sts_pattern_matches(STR("*.example.com"), STR("example.com")));
	CHECK(!sts_pattern_matches(STR("*.example.com"), STR("a.b.example.com")));
	CHECK(!sts_pattern_matches(STR("*.example.com"), STR(".example.com")));
	CHECK(!sts_pattern_matches(STR("mx.example.com"), STR("mx.example.com.evil")));
	CHECK(!sts_pattern_matches(STR("mx.example.com"), STR("")));
}
