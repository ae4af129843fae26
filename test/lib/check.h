/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests. A test file holds functions marked TEST(name); the build links it with
 * check.c, which runs them all, or those whose names contain the argument, and prints
 * "N passed, N failed". Names are sentences: TEST(a_long_line_is_refused).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

typedef void check_fn(void);

void check_register(const char *name, check_fn *run);
void check_failed(const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
bool check_str(const char *file, int line, struct str got, struct str want);
bool check_int(const char *file, int line, long long got, long long want);
/* A fresh folder, removed when the test ends. */
const char *check_folder(void);
/* A file in it with this text. */
void check_write_file(const char *name, const char *text);

#define TEST(name) \
	static void test_##name(void); \
	__attribute__((constructor)) static void register_##name(void) \
	{ \
		check_register(#name, test_##name); \
	} \
	static void test_##name(void)

#define CHECK(condition) \
	do { \
		if (!(condition)) \
			check_failed(__FILE__, __LINE__, "%s", #condition); \
	} while (0)
/* For table-driven cases: the label says which row. */
#define CHECK_CASE(condition, label) \
	do { \
		if (!(condition)) \
			check_failed(__FILE__, __LINE__, "case %s: %s", (label), #condition); \
	} while (0)
#define CHECK_STR(got, want) check_str(__FILE__, __LINE__, (got), (want))
#define CHECK_INT(got, want) check_int(__FILE__, __LINE__, (long long)(got), (long long)(want))
