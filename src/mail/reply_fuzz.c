/* SPDX-License-Identifier: Apache-2.0 */
#include "mail/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf b = BUF_INIT(1 << 20);
	struct reply r;

	if (!reply_parse(str_n((const char *)data, size), &r))
		reply_format(&b, &r, true);
	buf_done(&b);
	return 0;
}
