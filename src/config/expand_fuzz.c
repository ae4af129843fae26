/* SPDX-License-Identifier: Apache-2.0 */
/* Any text is expanded or refused with a reason, and never grows past the buffer. */
#include <errno.h>
#include <stdint.h>

#include "config/expand.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int get(struct expand *e, struct str name, bool is_test, struct str *ret_value)
{
	*ret_value = name.len % 2 ? name : STR("");
	return name.len % 3 ? 0 : -ENOENT;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct expand e = {.get = get};
	struct buf out = BUF_INIT(10000);

	if (expand_text(&e, str_n((const char *)data, size), &out) && !e.why)
		die("refused without a reason");
	buf_done(&out);
	return 0;
}
