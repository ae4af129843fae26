/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of both sides of the spool: one in the test's folder, with segments that are soon full. */
#pragma once

#include <stdio.h>

#include "check.h"
#include "spool_fixture.h"

enum { SMALL_SEGMENT = 256 << 10 };

/* A path in the test's folder; valid until the next call. */
static inline const char *folder_named(const char *name)
{
	static char path[128];

	snprintf(path, sizeof path, "%s/%s", check_folder(), name);
	return path;
}

#define OPEN(f) CHECK_INT(fixture_open((f), folder_named("spool"), SMALL_SEGMENT), 0)

/* A test body that runs as a fiber. */
#define SPOOL_TEST(name) \
	static void name##_fiber(void *arg); \
	TEST(name) \
	{ \
		static struct fixture f; \
		f = (struct fixture){0}; \
		fixture_run(name##_fiber, &f); \
	} \
	static void name##_fiber(void *arg)
