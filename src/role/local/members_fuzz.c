/* SPDX-License-Identifier: Apache-2.0 */
/* The right sides of aliases and .forward files. */
#include "role/local/members.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest = str_n((const char *)data, size);
	struct arena a = ARENA_INIT;
	struct member m;

	while (member_next(&rest, &a, &m))
		if (m.kind == MEMBER_ADDRESSES && m.text.len == 0)
			die("a member without text");
	arena_done(&a);
	return 0;
}
