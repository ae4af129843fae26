/* SPDX-License-Identifier: Apache-2.0 */
/* An address that parses must survive formatting and parsing again. */
#include "mail/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = ARENA_INIT;
	struct str rest = str_n((const char *)data + (size > 0), size - (size > 0)), first, second;
	unsigned flags = size ? data[0] & (ADDRESS_STRICT | ADDRESS_EMPTY | ADDRESS_UTF8) : 0;

	if (!address_parse_path(&rest, flags, &a, &first) && first.len > 0) {
		struct str external = address_external(&a, first);

		if (address_parse(external, flags, &a, &second) || !str_eq(first, second))
			die("an address does not come back");
	}
	arena_done(&a);
	return 0;
}
