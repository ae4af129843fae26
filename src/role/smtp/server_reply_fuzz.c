/* SPDX-License-Identifier: Apache-2.0 */
/* A server's lines, whatever they are. */
#include "role/smtp/server_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest = str_n((const char *)data, size), line;
	struct arena a = ARENA_INIT;
	struct server_reply r;
	struct ehlo e;

	server_reply_init(&r);
	while (str_split(rest, '\n', &line, &rest)) {
		if (!server_reply_add(&r, line))
			continue;
		if (r.code && (r.code < 200 || r.code > 599))
			die("reply code %d", r.code);
		ehlo_parse(&r, STR("dsn"), &e);
		(void)server_reply_text(&r, &a);
		(void)server_reply_dsn(&r, &a);
		server_reply_reset(&r);
	}
	server_reply_done(&r);
	arena_done(&a);
	return 0;
}
