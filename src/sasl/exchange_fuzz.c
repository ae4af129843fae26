/* SPDX-License-Identifier: Apache-2.0 */
/* AUTH dialogues with the built-in mechanisms: the first line is "MECH [initial]", each further one a response. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/base.h"
#include "config/config.h"
#include "fiber/fiber.h"
#include "sasl/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct sasl_server *make_server(void)
{
	char dir[] = "/tmp/exchange_fuzz.XXXXXX", key[200], path[100];
	struct buf why = BUF_INIT(1000);
	struct sasl_server *s;
	FILE *f;

	if (!mkdtemp(dir))
		die("no temporary folder");
	snprintf(path, sizeof(path), "%s/key", dir);
	snprintf(key, sizeof(key), "smtpd_sasl_oauth_key_file=%s", path);
	f = fopen(path, "w");
	if (!f || fputs("HS256 MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n", f) < 0 || fclose(f))
		die("no key");
	const struct str settings[] = {STR("smtpd_sasl_auth_enable=yes"),
	                               STR("smtpd_sasl_type=builtin"),
	                               STR("smtpd_sasl_builtin_maps=inline:{{joe={PLAIN}secret}}"),
	                               STR("smtpd_sasl_builtin_mechanisms=PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 "
	                                   "SCRAM-SHA-256-PLUS OAUTHBEARER XOAUTH2"),
	                               STR("smtpd_sasl_oauth_audience=mail"),
	                               str_of(key),
	                               STR("compatibility_level=3.6"),
	                               STR("myhostname=mx.example")};

	/* Never freed: the one configuration of all runs. */
	if (sasl_server_new(config_main_view(config_load(str_of(dir), settings, COUNT_OF(settings))), sasl_lookup_backends, &s,
	                    &why))
		die("%s", buf_cstr(&why));
	buf_done(&why);
	unlink(path);
	rmdir(dir);
	buf_done(&why);
	return s;
}

static void converse(void *arg)
{
	static struct sasl_server *s;
	struct sasl_peer peer = {.client_address = STR("192.0.2.1"), .binding = STR("0123456789ab")};
	struct str rest = *(struct str *)arg, line = {0}, mechanism, initial = {0};
	struct sasl_exchange *x;
	struct sasl_result r;

	if (!s)
		s = make_server();
	(void)str_next(&rest, "\n", &line);
	if (!str_split(line, ' ', &mechanism, &initial))
		mechanism = line;
	x = sasl_exchange_begin(s, &peer, mechanism, initial, &r);
	while (r.status == SASL_CONTINUE && str_next(&rest, "\n", &line))
		sasl_exchange_step(x, line, &r);
	if (r.status == SASL_OK && !str_eq_nocase(r.username, STR("joe")))
		die("somebody else got in");
	sasl_exchange_free(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str input = str_n((const char *)data, size);

	/* Keys are derived on a helper thread. */
	loop_init();
	fiber_start("dialogue", converse, &input);
	loop_run();
	loop_done();
	return 0;
}
