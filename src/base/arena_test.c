/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdint.h>

#include "check.h"

TEST(pieces_are_zeroed_aligned_and_apart)
{
	struct arena a = ARENA_INIT;

	for (int round = 0; round < 3; round++) {
		for (size_t size = 1; size < 5000; size = size * 2 + 1) {
			char *p = arena_alloc(&a, size);

			CHECK((uintptr_t)p % 16 == 0);
			CHECK(p[0] == 0 && p[size - 1] == 0);
			memset(p, 0xff, size);
		}
		arena_reset(&a);
		CHECK_INT(arena_used(&a), 0);
	}
	CHECK_STR(arena_printf(&a, "%d %s", 5, "x"), STR("5 x"));
	CHECK_STR(arena_lower(&a, STR("AbC")), STR("abc"));
	arena_done(&a);
}
