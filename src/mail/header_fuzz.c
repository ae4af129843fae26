/* SPDX-License-Identifier: Apache-2.0 */
/* The headers and the rest are the input, nothing lost and nothing twice. */
#include "mail/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest = str_n((const char *)data, size);
	size_t total = 0;
	struct header h;

	while (header_next(&rest, &h))
		total += h.whole.len;
	if (total + rest.len != size)
		die("header bytes went missing");
	return 0;
}
