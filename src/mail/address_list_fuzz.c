/* SPDX-License-Identifier: Apache-2.0 */
/* Every address found lies inside the text and behind the one before. */
#include "mail/address_list.h"

#include "base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct address_list l = {.text = str_n((const char *)data, size)};
	const char *last = (const char *)data;
	struct str spec;

	while (address_list_next(&l, &spec)) {
		if (spec.ptr < last || spec.ptr + spec.len > (const char *)data + size)
			die("an address lies outside its header");
		last = spec.ptr + spec.len;
	}
	return 0;
}
