/* SPDX-License-Identifier: Apache-2.0 */
/* Access tokens in files and from commands. */
#include "base/base.h"
#include "sasl/access_token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = ARENA_INIT;
	struct str token;
	int64_t lifetime;

	if (!access_token_parse(str_n((const char *)data, size), &a, &token, &lifetime) &&
	    (!token.len || token.len > size || lifetime < -1))
		die("a token that nobody wrote");
	arena_done(&a);
	return 0;
}
