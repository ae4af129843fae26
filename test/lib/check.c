/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the tests of one test program. */
#include "check.h"

#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TEST_COUNT_MAX = 1024 };

static struct {
	const char *name;
	check_fn *run;
} tests[TEST_COUNT_MAX];
static size_t test_count;
static bool has_failed;
static char folder[64];

void check_register(const char *name, check_fn *run)
{
	if (test_count == TEST_COUNT_MAX)
		abort();
	tests[test_count].name = name;
	tests[test_count++].run = run;
}

void check_failed(const char *file, int line, const char *fmt, ...)
{
	va_list args;

	has_failed = true;
	fprintf(stderr, "%s:%d: ", file, line);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}

bool check_str(const char *file, int line, struct str got, struct str want)
{
	if (str_eq(got, want))
		return true;
	check_failed(file, line, "got \"%.*s\", want \"%.*s\"", STR_ARG(got), STR_ARG(want));
	return false;
}

bool check_int(const char *file, int line, long long got, long long want)
{
	if (got == want)
		return true;
	check_failed(file, line, "got %lld, want %lld", got, want);
	return false;
}

const char *check_folder(void)
{
	if (!folder[0]) {
		snprintf(folder, sizeof folder, "/tmp/postrider-test-XXXXXX");
		if (!mkdtemp(folder))
			abort();
	}
	return folder;
}

void check_write_file(const char *name, const char *text)
{
	char path[300];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", check_folder(), name);
	f = fopen(path, "w");
	if (!f || fputs(text, f) < 0 || fclose(f)) {
		perror(path);
		abort();
	}
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void remove_folder(void)
{
	if (folder[0])
		nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	folder[0] = '\0';
}

int main(int argc, char **argv)
{
	size_t failed_count = 0, passed_count = 0;

	for (size_t i = 0; i < test_count; i++) {
		if (argc > 1 && !strstr(tests[i].name, argv[1]))
			continue;
		has_failed = false;
		tests[i].run();
		remove_folder();
		if (has_failed) {
			failed_count++;
			printf("FAILED %s\n", tests[i].name);
		} else {
			passed_count++;
		}
	}
	printf("%zu passed, %zu failed\n", passed_count, failed_count);
	return failed_count ? 1 : 0;
}
