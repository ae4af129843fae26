/* SPDX-License-Identifier: Apache-2.0 */
/* Names under the search list of resolv.conf. */
#include <stdio.h>

#include "check.h"
#include "net/dns_internal.h"

TEST(a_name_stands_for_what_the_options_make_of_it)
{
	static const struct {
		const char *name;
		unsigned options;
		const char *domains;
		const char *want;
	} cases[] = {
		{"mail", 0, "a.example b.example", "mail"},
		{"mail", DNS_SEARCH_SINGLE, "a.example b.example", "mail.a.example mail"},
		{"mail", DNS_SEARCH_ALL, "a.example b.example", "mail.a.example mail.b.example mail"},
		{"mail", DNS_SEARCH_SINGLE | DNS_SEARCH_ALL, "a.example", "mail.a.example mail"},
		{"mail", DNS_SEARCH_SINGLE, "", "mail"},
		{"mx.example.org", DNS_SEARCH_SINGLE, "a.example", "mx.example.org"},
		{"mx.example.org", DNS_SEARCH_ALL, "a.example b.example",
	         "mx.example.org mx.example.org.a.example mx.example.org.b.example"},
		{"mx.example.org.", DNS_SEARCH_ALL, "a.example", "mx.example.org."},
		{"mail", DNS_SEARCH_ALL, "a b c d e f g h i", "mail.a mail.b mail.c mail.d mail.e mail.f mail.g mail"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct arena a = ARENA_INIT;
		struct buf got = BUF_INIT(1000);
		struct str *names;
		size_t count = dns_search_expand(str_of(cases[i].name), cases[i].options, str_of(cases[i].domains), &a, &names);

		for (size_t k = 0; k < count; k++)
			buf_addf(&got, "%s%.*s", k ? " " : "", STR_ARG(names[k]));
		CHECK_STR(buf_str(&got), str_of(cases[i].want));
		buf_done(&got);
		arena_done(&a);
	}
}

TEST(the_last_search_line_of_resolv_conf_counts)
{
	char path[300], *domains;
	FILE *f;

	snprintf(path, sizeof(path), "%s/resolv.conf", check_folder());
	f = fopen(path, "w");
	CHECK(f != NULL);
	if (!f)
		return;
	fputs("# search none.example\nnameserver 192.0.2.1\ndomain a.example\nsearch b.example  c.example \n", f);
	fclose(f);
	domains = dns_search_read(path);
	CHECK_STR(str_of(domains), STR("b.example  c.example"));
	free(domains);
}
