/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever decodes must encode to the same bytes again. */
#include "mail/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = ARENA_INIT;
	struct buf b = BUF_INIT(size + 1);
	struct envelope e;

	if (!envelope_decode(str_n((const char *)data, size), &a, &e)) {
		envelope_encode(&b, &e);
		if (!str_eq(buf_str(&b), str_n((const char *)data, size)))
			die("an envelope does not come back");
	}
	buf_done(&b);
	arena_done(&a);
	return 0;
}
