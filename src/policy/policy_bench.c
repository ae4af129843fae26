/* SPDX-License-Identifier: Apache-2.0 */
/* What the checks of one recipient cost: a client of mynetworks, and a stranger who writes to us. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "config/config.h"
#include "policy/policy.h"
#include "route/resolve.h"

enum { ROUNDS = 300000 };

static double measure(struct policy *p, struct policy_session *s, struct arena *a)
{
	struct policy_action act = {0};
	struct instant start = clock_now();
	int codes = 0;

	for (int i = 0; i < ROUNDS; i++) {
		codes |= policy_check_rcpt(p, s, &act).code;
		arena_reset(a);
	}
	if (codes)
		die("the recipient is refused");
	return (double)duration_between(start, clock_now()).ns / ROUNDS;
}

int main(void)
{
	static const struct str settings[] = {STR("compatibility_level=3.6"),
	                                      STR("myhostname=mx.example.com"),
	                                      STR("mydestination=example.com, localhost, mx.example.com"),
	                                      STR("mynetworks=127.0.0.0/8, 192.168.0.0/16"),
	                                      STR("local_recipient_maps="),
	                                      STR("alias_maps="),
	                                      STR("relay_domains=relay.example"),
	                                      STR("smtpd_relay_restrictions=permit_mynetworks, reject_unauth_destination")};
	char dir[] = "/tmp/policy_bench.XXXXXX";
	struct buf why = BUF_INIT(4096);
	struct arena a = ARENA_INIT;
	struct policy_session s = {.client_name = STR("client.example"),
	                           .client_reverse_name = STR("client.example"),
	                           .helo = STR("client.example"),
	                           .sender = STR("a@client.example"),
	                           .sender_raw = STR("a@client.example"),
	                           .has_sender = true,
	                           .recipient = STR("bob@example.com"),
	                           .recipient_raw = STR("bob@example.com"),
	                           .arena = &a};
	struct router *r;
	struct policy *p;
	struct config *c;

	if (!mkdtemp(dir))
		die("no temporary folder");
	c = config_load(str_of(dir), settings, COUNT_OF(settings));
	rmdir(dir);
	if (router_new(config_main_view(c), &r, &why) || policy_new(config_main_view(c), r, &p, &why))
		die("%s", buf_cstr(&why));
	s.client_address = STR("192.168.7.8");
	printf("a client of mynetworks: %.0f ns a recipient\n", measure(p, &s, &a));
	s.client_address = STR("203.0.113.5");
	printf("a stranger:             %.0f ns a recipient\n", measure(p, &s, &a));
	policy_free(p);
	router_free(r);
	config_free(c);
	arena_done(&a);
	buf_done(&why);
	return 0;
}
