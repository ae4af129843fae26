/* SPDX-License-Identifier: Apache-2.0 */
/* The value of a policy table, whatever it is. */
#include "role/smtp/tls_policy.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf why = BUF_INIT(4096);
	struct arena a = ARENA_INIT;
	struct tls_policy p;
	struct str rest, item;
	int err = tls_policy_parse(str_n((const char *)data, size), &a, &p, &why);

	if (!err != !why.len)
		die("result %d, but \"%s\" is said", err, buf_cstr(&why));
	rest = p.match;
	while (tls_match_next(&p, &rest, &item))
		if (!item.len)
			die("an empty name to match");
	arena_done(&a);
	buf_done(&why);
	return 0;
}
