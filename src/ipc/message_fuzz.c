/* SPDX-License-Identifier: Apache-2.0 */
/* Frames between roles: whatever decodes must encode to the same bytes again. */
#include "ipc/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest = str_n((const char *)data, size);
	struct buf again = BUF_INIT(MESSAGE_SIZE_MAX), trace = BUF_INIT(1 << 16);
	struct message m;

	while (rest.len && !message_decode(&rest, &m)) {
		message_encode(&again, &m);
		message_format(&trace, &m);
	}
	if (!str_eq(buf_str(&again), str_n((const char *)data, size - rest.len)))
		die("a decoded message encodes to other bytes");
	buf_done(&again);
	buf_done(&trace);
	return 0;
}
