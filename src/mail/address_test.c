/* SPDX-License-Identifier: Apache-2.0 */
#include "mail/address.h"

#include <errno.h>

#include "check.h"

static const struct path_case {
	const char *text;
	unsigned flags;
	const char *address; /* NULL: refused */
	const char *rest;
} path_cases[] = {
	{"<a@example.org> SIZE=1", 0, "a@example.org", " SIZE=1"},
	{"<>", ADDRESS_EMPTY, "", ""},
	{"<>", 0, NULL, NULL},
	{"a@example.org SIZE=1", 0, "a@example.org", " SIZE=1"},
	{"a@example.org", ADDRESS_STRICT, NULL, NULL},
	{"<\"a b\"@example.org>", 0, "a b@example.org", ""},
	{"<\"a\\\"b\"@example.org>", 0, "a\"b@example.org", ""},
	{"<\"a>b\"@example.org>", 0, "a>b@example.org", ""},
	{"<a\\ b@example.org>", 0, "a b@example.org", ""},
	{"<@one.example,@two.example:a@example.org>", 0, "a@example.org", ""},
	{"<@one.example a@example.org>", 0, NULL, NULL},
	{"<a@[192.0.2.1]>", 0, "a@[192.0.2.1]", ""},
	{"<a@[IPv6:2001:db8::1]>", 0, "a@[IPv6:2001:db8::1]", ""},
	{"<a@[>", 0, NULL, NULL},
	{"<postmaster>", 0, "postmaster", ""},
	{"<\"a@b\">", 0, NULL, NULL},
	{"<a@b@example.org>", 0, "a@b@example.org", ""},
	{"<a@b@example.org>", ADDRESS_STRICT, NULL, NULL},
	{"<a..b@example.org>", 0, "a..b@example.org", ""},
	{"<@example.org>", 0, NULL, NULL},
	{"<a@>", 0, NULL, NULL},
	{"<a b@example.org>", 0, NULL, NULL},
	{"<a@example.org", 0, NULL, NULL},
	{"<\"a@example.org>", 0, NULL, NULL},
	{"<a@example.org>x", 0, NULL, NULL},
	{"< a@example.org >", 0, "a@example.org", ""},
	{"<a@example.org\">\"", 0, NULL, NULL},
	{"", 0, NULL, NULL},
	{"<\xc3\xa4@example.org>", ADDRESS_UTF8, "\xc3\xa4@example.org", ""},
	{"<\xc3\xa4@example.org>", 0, NULL, NULL},
	{"<\xc3@example.org>", ADDRESS_UTF8, NULL, NULL},
};

TEST(paths_become_internal_addresses)
{
	for (size_t i = 0; i < COUNT_OF(path_cases); i++) {
		const struct path_case *c = &path_cases[i];
		struct str rest = str_of(c->text), address = {0};
		struct arena a = ARENA_INIT;
		int err = address_parse_path(&rest, c->flags, &a, &address);

		CHECK_CASE(!err == (c->address != NULL), c->text);
		if (c->address) {
			CHECK_STR(address, str_of(c->address));
			CHECK_STR(rest, str_of(c->rest));
		} else {
			CHECK_STR(rest, str_of(c->text));
		}
		arena_done(&a);
	}
}

TEST(local_parts_are_quoted_where_they_must_be)
{
	static const char *pairs[][2] = {
		{"a@example.org", "a@example.org"},
		{"a b@example.org", "\"a b\"@example.org"},
		{"a\"b@example.org", "\"a\\\"b\"@example.org"},
		{"a@b@example.org", "\"a@b\"@example.org"},
		{".a@example.org", "\".a\"@example.org"},
		{"a..b@example.org", "\"a..b\"@example.org"},
		{"a.@example.org", "\"a.\"@example.org"},
		{"postmaster", "postmaster"},
		{"", ""},
	};

	for (size_t i = 0; i < COUNT_OF(pairs); i++) {
		struct buf b = BUF_INIT(100);
		struct arena a = ARENA_INIT;

		address_format(&b, str_of(pairs[i][0]));
		CHECK_STR(buf_str(&b), str_of(pairs[i][1]));
		CHECK_STR(address_external(&a, str_of(pairs[i][0])), str_of(pairs[i][1]));
		buf_done(&b);
		arena_done(&a);
	}
}

TEST(the_domain_begins_behind_the_last_at)
{
	struct str local, domain;

	CHECK(address_split(STR("a@b@c"), &local, &domain));
	CHECK_STR(local, STR("a@b"));
	CHECK_STR(domain, STR("c"));
	CHECK(!address_split(STR("root"), &local, &domain));
	CHECK_STR(local, STR("root"));
	CHECK_STR(domain, STR(""));
}
