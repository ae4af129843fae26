/* SPDX-License-Identifier: Apache-2.0 */
/* Table sources of both kinds: what comes out is never empty, and lines only go forward. */
#include "table/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(struct str bytes, bool is_alias)
{
	struct buf why = BUF_INIT(1 << 16);
	struct arena a = ARENA_INIT;
	struct source s;
	struct str key, value;
	unsigned line = 0;

	source_init(&s, STR("source"), bytes);
	while ((is_alias ? source_next_alias : source_next_entry)(&s, &a, &key, &value, &why)) {
		if (key.len == 0 || value.len == 0 || s.line <= line)
			die("an entry is empty or in the wrong place");
		line = s.line;
	}
	source_done(&s);
	buf_done(&why);
	arena_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str bytes = str_n((const char *)data, size);

	read_all(bytes, false);
	read_all(bytes, true);
	return 0;
}
