/* SPDX-License-Identifier: Apache-2.0 */
#include "config/bounce_template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bounce_templates t;
	struct buf why = BUF_INIT(1000);

	bounce_templates_init(&t);
	(void)!bounce_templates_parse(&t, STR("/etc/b"), str_n((const char *)data, size), &why);
	bounce_templates_done(&t);
	buf_done(&why);
	return 0;
}
