/* SPDX-License-Identifier: Apache-2.0 */
/* Any line from Dovecot's socket: it parses or it does not, within its bytes. */
#include "sasl/dovecot_line.h"

#include "base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = ARENA_INIT;
	struct str rest = str_n((const char *)data, size), text;
	struct dovecot_line line;

	while (str_next(&rest, "\n", &text))
		if (!dovecot_line_parse(text, &a, &line) && line.user.len + line.reason.len + line.text.len > text.len)
			die("a line gave more than it held");
	arena_done(&a);
	return 0;
}
