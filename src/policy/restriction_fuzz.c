/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Restriction lists and results of access tables. The first line is a list, without tables of
 * its own; the others are results that are carried out for a session.
 */
#include <stdlib.h>
#include <unistd.h>

#include "config/config.h"
#include "policy/policy_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct policy *make_policy(void)
{
	static const struct str settings[] = {STR("compatibility_level=3.6"),
	                                      STR("myhostname=mx.example"),
	                                      STR("mydestination=mx.example"),
	                                      STR("mynetworks=127.0.0.0/8"),
	                                      STR("local_recipient_maps="),
	                                      STR("alias_maps="),
	                                      STR("smtpd_recipient_restrictions=permit_mynetworks,reject_unauth_destination")};
	char dir[] = "/tmp/restriction_fuzz.XXXXXX";
	struct buf why = BUF_INIT(1000);
	struct policy *p;
	struct router *r;
	struct config *c;

	if (!mkdtemp(dir))
		die("no temporary folder");
	/* Never freed: the one configuration of all runs. */
	c = config_load(str_of(dir), settings, COUNT_OF(settings));
	rmdir(dir);
	if (router_new(config_main_view(c), &r, &why))
		die("%s", buf_cstr(&why));
	buf_reset(&why);
	if (policy_new(config_main_view(c), r, &p, &why))
		die("%s", buf_cstr(&why));
	return p;
}

/* What would ask DNS or wait is not for here. */
static bool is_quick(struct str text)
{
	static const char *const slow[] = {"sleep", "unknown", "rbl", "rhs", "dnswl", "_access", "policy_service", ":"};
	bool quick = true;

	for (size_t i = 0; i < text.len; i++)
		for (size_t k = 0; k < COUNT_OF(slow); k++)
			quick &= !str_starts_nocase(str_from(text, i), str_of(slow[k]));
	return quick;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct policy *p;
	struct arena a = ARENA_INIT;
	struct policy_session s = {.client_name = STR("unknown"),
	                           .client_reverse_name = STR("unknown"),
	                           .client_address = STR("192.0.2.1"),
	                           .helo = STR("h"),
	                           .sender = STR("s@x.example"),
	                           .sender_raw = STR("s@x.example"),
	                           .has_sender = true,
	                           .recipient = STR("r@mx.example"),
	                           .recipient_raw = STR("r@mx.example"),
	                           .arena = &a};
	struct policy_action act = {0};
	struct str rest = str_n((const char *)data, size), line;

	if (!p)
		p = make_policy();
	for (enum policy_list list = LIST_CLIENT; str_next(&rest, "\n", &line); list = (list + 1) % LIST_COUNT) {
		struct run r = {.p = p, .s = &s, .act = &act, .list = list, .stage = "RCPT", .why = BUF_INIT(1000)};
		enum verdict verdict = DUNNO;

		if (is_quick(line))
			verdict = access_act(&r, STR("static:x"), STR("key"), line, SUBJECT_SENDER);
		if (verdict == REJECT && (r.reply.code < 400 || r.reply.code > 599 || str_has(r.reply.text, '\n')))
			die("a reject that is none");
		buf_done(&r.why);
	}
	arena_done(&a);
	return 0;
}
