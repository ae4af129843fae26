/* SPDX-License-Identifier: Apache-2.0 */
/* TLSA records of a stranger: each line of the input is one, and the strongest of them are chosen. */
#include "net/tlsa.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct tlsa_digests digests = {.list = {{2, "sha512", 64}, {1, "sha256", 32}}, .count = 2};
	struct str rest = str_n((const char *)data, size), line;
	struct tlsa records[16];
	struct buf text = BUF_INIT(4096);
	size_t count = 0, kept;

	while (count < COUNT_OF(records) && str_next(&rest, "\n", &line))
		if (!tlsa_decode(line, &records[count]))
			count++;
	kept = tlsa_select(records, count, &digests);
	if (kept > count)
		die("%zu of %zu records were chosen", kept, count);
	for (size_t i = 0; i < kept; i++) {
		if (tlsa_unusable(&records[i], &digests))
			die("an unusable record was chosen");
		tlsa_format(&text, &records[i]);
	}
	buf_done(&text);
	return 0;
}
