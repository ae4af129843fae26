/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include <stdint.h>
#include <stdio.h>

#include "check.h"

TEST(entries_are_found_changed_and_removed)
{
	struct map m = MAP_INIT;
	char key[32];

	for (uintptr_t i = 1; i <= 5000; i++)
		CHECK(!map_set(&m, str_n(key, (size_t)snprintf(key, sizeof key, "k%zu", (size_t)i)), (void *)i));
	CHECK_INT(map_count(&m), 5000);
	for (uintptr_t i = 1; i <= 5000; i += 2)
		CHECK_INT(map_remove(&m, str_n(key, (size_t)snprintf(key, sizeof key, "k%zu", (size_t)i))), i);
	CHECK_INT(map_count(&m), 2500);
	CHECK(!map_find(&m, STR("k1")));
	CHECK_INT(map_find(&m, STR("k2")), 2);
	CHECK_INT(map_set(&m, STR("k2"), &m), 2);
	CHECK(map_find(&m, STR("k2")) == &m);
	map_done(&m);
}

TEST(a_table_that_is_filled_and_emptied_again_and_again_stays_small)
{
	struct map m = MAP_INIT;
	char key[32];

	for (int i = 0; i < 100000; i++) {
		struct str k = str_n(key, (size_t)snprintf(key, sizeof key, "%d", i));

		map_set(&m, k, &m);
		map_remove(&m, k);
	}
	CHECK(m.size <= 64);
	map_done(&m);
}
