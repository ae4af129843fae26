/* SPDX-License-Identifier: Apache-2.0 */
/* A message as a program might pipe it into sendmail. */
#include "cmd/sendmail_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = ARENA_INIT;
	struct sendmail_recipients r = {.arena = &a};
	struct buf content = BUF_INIT(1 << 20), whole = BUF_INIT(1 << 22);
	struct sendmail_input in = {.size_limit = 1 << 19, .keeps_dots = size & 1, .line_ends = size % 3};

	in.file = size ? fmemopen((void *)(uintptr_t)data, size, "r") : NULL;
	if (!in.file)
		return 0;
	if (!sendmail_read(&in, &content)) {
		sendmail_add_from_header(&r, sendmail_header(buf_str(&content)));
		if (sendmail_add_argument(&r, str_cut(buf_str(&content), 0, 200)))
			r.notify = 0;
		sendmail_add_from(&whole, buf_str(&content), STR("a@b"), str_cut(buf_str(&content), 0, 40));
	}
	fclose(in.file);
	buf_done(&content);
	buf_done(&whole);
	arena_done(&a);
	return 0;
}
