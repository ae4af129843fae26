/* SPDX-License-Identifier: Apache-2.0 */
/* Files with access tokens. */
#include "base/base.h"
#include "role/smtp/credentials.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = ARENA_INIT;
	struct str token;

	if (!token_parse(str_n((const char *)data, size), &a, &token) && (!token.len || token.len > size))
		die("a token that nobody wrote");
	arena_done(&a);
	return 0;
}
