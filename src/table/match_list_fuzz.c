/* SPDX-License-Identifier: Apache-2.0 */
/* Match lists without tables and files: the first line is what is asked, the rest the list. */
#include "table/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str bytes = str_n((const char *)data, size), name, list;

	if (!str_split(bytes, '\n', &name, &list) || str_has(list, '/'))
		return 0;
	for (enum match_kind kind = MATCH_STRING; kind <= MATCH_USER; kind++) {
		struct buf why = BUF_INIT(1 << 16);
		struct match_list *l;

		if (match_list_open(list, kind, MATCH_PARENTS | TABLE_SURROGATE, NULL, &l, &why) == 0) {
			int result = match_list_check(l, name, &why);

			if (result > 1)
				die("neither yes nor no");
			match_list_close(l);
		}
		buf_done(&why);
	}
	return 0;
}
