/* SPDX-License-Identifier: Apache-2.0 */
/* postrider coverage: how far each parameter is supported. */
#include <stdio.h>

#include "cmd/commands.h"
#include "config/param.h"

static const struct {
	const char *word;
	const char *meaning;
	enum param_support support;
} groups[] = {
	{"done", "read by the code", SUPPORT_DONE},
	{"built-in", "accepted; the design makes it meaningless", SUPPORT_BUILT_IN},
	{"planned", "accepted, but nothing reads it yet; setting it is a warning", SUPPORT_PLANNED},
};

/* A family counts once for each transport of the stock master.cf, and once for all others. */
static size_t weight(const struct param *p)
{
	struct str rest = p->transports, word;
	size_t count = 1;

	while (str_next(&rest, " ", &word))
		count++;
	return count;
}

static size_t count_group(enum param_support support)
{
	size_t count = 0;

	for (size_t i = 0; i < param_count; i++)
		if (param_table[i].support == support)
			count += weight(&param_table[i]);
	return count;
}

static void list_group(enum param_support support)
{
	for (size_t i = 0; i < param_count; i++) {
		const struct param *p = &param_table[i];

		if (p->support != support)
			continue;
		printf("  %.*s\n", STR_ARG(p->name));
		if (p->text.len > 0)
			printf("      %.*s\n", STR_ARG(p->text));
	}
}

int cmd_coverage(int argc, char **argv)
{
	const char *only = argc > 1 ? argv[1] : NULL;
	size_t total = 0;

	for (size_t i = 0; i < COUNT_OF(groups); i++) {
		size_t count = count_group(groups[i].support);

		total += count;
		printf("%-8s %5zu  %s\n", groups[i].word, count, groups[i].meaning);
	}
	printf("%-8s %5zu\n", "total", total);
	for (size_t i = 0; i < COUNT_OF(groups); i++)
		if (!only || strcmp(only, groups[i].word) == 0) {
			printf("\n%s:\n", groups[i].word);
			list_group(groups[i].support);
		}
	return 0;
}
