/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names that a name may stand for under the older options of resolvers, in the order to try them: RES_DEFNAMES
 * puts the first domain of the search list behind a name without a dot, RES_DNSRCH every one behind any name.
 */
#include <stdio.h>
#include <unistd.h>

#include "net/dns_internal.h"

enum { NAMES_MAX = 8, LINE_SIZE = 1024, HOST_SIZE = 256 };

size_t dns_search_expand(struct str name, unsigned options, struct str domains, struct arena *a, struct str **ret_names)
{
	struct str *names = arena_alloc(a, NAMES_MAX * sizeof(*names)), domain;
	bool has_dot = str_has(name, '.'), is_absolute = str_ends(name, STR("."));
	bool searches = !is_absolute && options & (has_dot ? DNS_SEARCH_ALL : DNS_SEARCH_SINGLE | DNS_SEARCH_ALL);
	size_t count = 0;

	if (has_dot || !searches)
		names[count++] = name;
	while (searches && count + 1 < NAMES_MAX && str_next(&domains, " \t\r\n", &domain)) {
		names[count++] = arena_printf(a, "%.*s.%.*s", STR_ARG(name), STR_ARG(domain));
		searches = options & DNS_SEARCH_ALL;
	}
	if (!has_dot && !str_eq(names[0], name))
		names[count++] = name;
	*ret_names = names;
	return count;
}

/* The last line of its kind counts. */
static void read_resolv_conf(const char *path, struct buf *to)
{
	FILE *f = fopen(path, "re");
	char line[LINE_SIZE];

	while (f && fgets(line, sizeof(line), f)) {
		struct str rest = str_of(line), word;

		if (!str_next(&rest, " \t\r\n", &word) || !(str_eq(word, STR("search")) || str_eq(word, STR("domain"))))
			continue;
		buf_reset(to);
		buf_add(to, str_trim(rest));
	}
	if (f)
		fclose(f);
}

char *dns_search_read(const char *path)
{
	struct buf domains = BUF_INIT(LINE_SIZE);
	char host[HOST_SIZE] = "";

	read_resolv_conf(path, &domains);
	/* Without either line, the domain of this machine. */
	if (!domains.len && !gethostname(host, sizeof(host) - 1))
		buf_add(&domains, str_from(str_of(host), str_find(str_of(host), '.') + 1));
	return buf_take(&domains);
}
