/* SPDX-License-Identifier: Apache-2.0 */
/* Logging in to a server that says anything: the first line is the mechanism, each further one a challenge, "=" an empty one. */
#include "sasl/client.h"

#include "base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest = str_n((const char *)data, size), line = {0};
	struct sasl_login login = {.user = STR("joe,=x"), .secret = STR("secret"), .host = STR("mx.example"), .port = STR("587")};
	struct buf response = BUF_INIT(100000);
	struct sasl_client *c;
	const char *why;

	(void)str_next(&rest, "\n", &line);
	if (str_ends(line, STR("PLUS")))
		login.binding = STR("0123456789abcdef0123456789abcdef");
	login.is_exporter = line.len % 2;
	if (sasl_client_new(line, &login, &c))
		return 0;
	while (str_next(&rest, "\n", &line)) {
		buf_reset(&response);
		if (sasl_client_step(c, str_eq(line, STR("=")) ? STR("") : line, &response, &why))
			break;
	}
	/* Nobody here knows the password, so no server can have proved that it does. */
	if (sasl_client_is_done(c) && sasl_client_has_proof(c))
		die("a server proved what it cannot know");
	sasl_client_free(c);
	buf_done(&response);
	return 0;
}
