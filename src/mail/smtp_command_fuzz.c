/* SPDX-License-Identifier: Apache-2.0 */
#include "mail/smtp_command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = ARENA_INIT;
	struct command c;
	struct mail_command mail;
	struct rcpt_command rcpt;
	unsigned flags = size ? data[0] : 0;

	command_parse(str_n((const char *)data + (size > 0), size - (size > 0)), &c);
	(void)mail_command_parse(c.argument, flags, &a, &mail);
	(void)rcpt_command_parse(c.argument, flags, &a, &rcpt);
	arena_done(&a);
	return 0;
}
