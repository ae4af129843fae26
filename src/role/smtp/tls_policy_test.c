/* SPDX-License-Identifier: Apache-2.0 */
#include "role/smtp/tls_policy.h"

#include <errno.h>

#include "check.h"
#include "config/config.h"
#include "role/smtp/smtp_settings.h"
#include "table/table.h"

TEST(policies_are_read_and_nothing_bad_is_passed_over)
{
	static const struct {
		char text[120];
		int err;
		enum client_tls level;
		char says[60]; /* what is wrong, or the match list */
	} cases[] = {
		{"none", 0, CLIENT_TLS_NONE, ""},
		{"none match=x", 0, CLIENT_TLS_NONE, ""},
		{"MAY", 0, CLIENT_TLS_MAY, ""},
		{"encrypt, ciphers=high  protocols=>=TLSv1.2", 0, CLIENT_TLS_ENCRYPT, ""},
		{"secure match=a.example:.b.example match=nexthop", 0, CLIENT_TLS_SECURE, " a.example:.b.example nexthop"},
		{"verify { match = hostname } {servername = hostname}", 0, CLIENT_TLS_VERIFY, " hostname"},
		{"fingerprint match=AA:BB|CC:DD", 0, CLIENT_TLS_FINGERPRINT, " AA:BB|CC:DD"},
		{"dane-only servername=mx.example", 0, CLIENT_TLS_DANE_ONLY, ""},
		{"may exclude=MD5:RC4 connection_reuse=yes connection_reuse=no enable_rpk=no", 0, CLIENT_TLS_MAY, ""},
		{"secure policy_type=sts policy_ttl=86400 policy_domain=a.example { policy_string = mx: b }", 0,
	         CLIENT_TLS_SECURE, ""},
		{"", -EINVAL, 0, "a policy begins with a level"},
		{"halfdane", -EINVAL, 0, "a policy begins with a level"},
		{"encrypt match=x", -EINVAL, 0, "does not go with level \"encrypt\""},
		{"dane match=x", -EINVAL, 0, "does not go with level \"dane\""},
		{"may ciphers=best", -EINVAL, 0, "bad cipher grade \"best\""},
		{"may ciphers=high ciphers=high", -EINVAL, 0, "\"ciphers\" is given twice"},
		{"may protocols=TLSv9", -EINVAL, 0, "unknown protocol \"TLSv9\""},
		{"may exclude=MD5 exclude=RC4", -EINVAL, 0, "\"exclude\" is given twice"},
		{"secure servername=a..b", -EINVAL, 0, "bad servername"},
		{"secure servername=a/b", -EINVAL, 0, "bad servername"},
		{"secure match=", -EINVAL, 0, "\"match\" has no value"},
		{"secure match", -EINVAL, 0, "\"match\" is no name=value"},
		{"encrypt tafile=/x", -EINVAL, 0, "\"tafile\" does not go with level \"encrypt\""},
		{"secure {match=x", -EINVAL, 0, "unknown attribute"},
		{"may connection_reuse=maybe", -EINVAL, 0, "is yes or no"},
		{"may colour=red", -EINVAL, 0, "unknown attribute \"colour\""},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct buf why = BUF_INIT(1000);
		struct arena a = ARENA_INIT;
		struct tls_policy p;

		CHECK_CASE(tls_policy_parse(str_of(cases[i].text), &a, &p, &why) == cases[i].err, cases[i].text);
		if (cases[i].err) {
			CHECK_CASE(str_find_str(buf_str(&why), str_of(cases[i].says)) < why.len, cases[i].text);
		} else {
			CHECK_CASE(p.level == cases[i].level, cases[i].text);
			CHECK_STR(p.match, str_of(cases[i].says));
			CHECK_STR(buf_str(&why), STR(""));
		}
		arena_done(&a);
		buf_done(&why);
	}
}

/* The settings of a client with a table. */
static void settings_open(struct smtp_settings *s, const char *table)
{
	struct buf why = BUF_INIT(1000);

	*s = (struct smtp_settings){.tls_level = STR("may"),
	                            .tls_verify_match = STR("hostname"),
	                            .tls_secure_match = STR("nexthop, dot-nexthop"),
	                            .tls_digest = STR("sha256")};
	CHECK_INT(maps_open(str_of(table), TABLE_FOLD, NULL, &s->tls_policies, &why), 0);
	buf_done(&why);
}

TEST(the_policy_is_that_of_the_nexthop_or_of_a_parent_of_a_bare_domain)
{
	static const struct {
		char nexthop[40];
		int err;
		enum client_tls level;
		char domain[30], match[40];
	} cases[] = {
		{"a.example", 0, CLIENT_TLS_SECURE, "a.example", "nexthop, dot-nexthop"},
		{"A.Example", 0, CLIENT_TLS_SECURE, "A.Example", "nexthop, dot-nexthop"},
		{"x.a.example", 0, CLIENT_TLS_MAY, "x.a.example", ""},
		{"[a.example]", 0, CLIENT_TLS_MAY, "a.example", ""},
		{"[b.example]:587", 0, CLIENT_TLS_VERIFY, "b.example", "hostname"},
		{"[b.example]", 0, CLIENT_TLS_MAY, "b.example", ""},
		{"x.y.parent.example", 0, CLIENT_TLS_ENCRYPT, "x.y.parent.example", ""},
		{"parent.example", 0, CLIENT_TLS_MAY, "parent.example", ""},
		{"[x.parent.example]", 0, CLIENT_TLS_MAY, "x.parent.example", ""},
		{"x.parent.example:26", 0, CLIENT_TLS_MAY, "x.parent.example", ""},
		{"bad.example", -EINVAL, 0, "", ""},
		{"finger.example", -EINVAL, 0, "", ""},
		{"only.example", -EINVAL, 0, "", ""},
		{"dane.example", 0, CLIENT_TLS_MAY, "dane.example", ""},
		{"b\xc3\xbc"
	         "cher.parent.example",
	         0, CLIENT_TLS_ENCRYPT, "xn--bcher-kva.parent.example", ""},
		{"", 0, CLIENT_TLS_MAY, "", ""},
	};
	struct smtp_settings s;

	settings_open(&s, "inline:{a.example=secure, [b.example]:587=verify, .parent.example=encrypt, bad.example=encrpyt, "
	                  "finger.example=fingerprint, only.example=dane-only, dane.example=dane}");
	s.dane_obstacle = STR("nothing validates here");
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct buf why = BUF_INIT(1000);
		struct arena a = ARENA_INIT;
		struct tls_policy p;

		CHECK_CASE(tls_policy_find(&s, str_of(cases[i].nexthop), &a, &p, &why) == cases[i].err, cases[i].nexthop);
		CHECK_CASE(!cases[i].err == !why.len, cases[i].nexthop);
		if (!cases[i].err) {
			CHECK_CASE(p.level == cases[i].level, cases[i].nexthop);
			CHECK_STR(p.domain, str_of(cases[i].domain));
			CHECK_STR(p.match, str_of(cases[i].match));
		}
		arena_done(&a);
		buf_done(&why);
	}
	maps_close(s.tls_policies);
}

TEST(sites_say_what_policies_do_not)
{
	static const struct {
		const char *level, *nexthop, *host;
		enum client_tls want;
	} cases[] = {
		{"none", "x.example", "", CLIENT_TLS_NONE},
		{"may", "x.example", "x.example", CLIENT_TLS_MAY},
		{"may", "none.example", "", CLIENT_TLS_NONE},
		{"verify", "none.example", "may.example", CLIENT_TLS_NONE},
		{"none", "may.example", "x.example", CLIENT_TLS_MAY},
		{"encrypt", "may.example", "", CLIENT_TLS_ENCRYPT},
		{"verify", "may.example", "may.example", CLIENT_TLS_VERIFY},
		{"none", "encrypt.example", "none.example", CLIENT_TLS_ENCRYPT},
		{"verify", "encrypt.example", "may.example", CLIENT_TLS_ENCRYPT},
		{"none", "none.example", "verify.example", CLIENT_TLS_VERIFY},
		{"may", "encrypt.example", "verify.example", CLIENT_TLS_VERIFY},
	};
	struct smtp_settings s;
	struct buf why = BUF_INIT(1000);
	struct arena a = ARENA_INIT;
	struct tls_policy p;

	settings_open(&s, "inline:{x.example=secure}");
	CHECK_INT(
		maps_open(
			STR("inline:{none.example=none, may.example=MAY, encrypt.example=MUST_NOPEERMATCH, verify.example=MUST}"),
			TABLE_FOLD, NULL, &s.tls_sites, &why),
		0);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		s.tls_level = str_of(cases[i].level);
		CHECK_INT(tls_policy_find_for_host(&s, str_of(cases[i].nexthop), str_of(cases[i].host), &a, &p, &why), 0);
		CHECK_CASE(p.level == cases[i].want, cases[i].nexthop);
	}
	maps_close(s.tls_sites);
	CHECK_INT(maps_open(STR("inline:{bad.example=YES}"), TABLE_FOLD, NULL, &s.tls_sites, &why), 0);
	CHECK_INT(tls_policy_find(&s, STR("bad.example"), &a, &p, &why), -EINVAL);
	CHECK_STR(buf_str(&why), STR("smtp_tls_per_site: \"YES\" for bad.example is none of NONE, MAY, MUST_NOPEERMATCH, MUST"));
	maps_close(s.tls_sites);
	maps_close(s.tls_policies);
	arena_done(&a);
	buf_done(&why);
}

TEST(every_demand_makes_another_key)
{
	static const char *const values[] = {"may",
	                                     "encrypt",
	                                     "verify",
	                                     "secure",
	                                     "secure match=a",
	                                     "secure match=b",
	                                     "secure tafile=/a",
	                                     "secure ciphers=high",
	                                     "secure protocols=TLSv1.3",
	                                     "secure exclude=MD5",
	                                     "secure servername=a"};
	struct arena a = ARENA_INIT;
	struct str keys[COUNT_OF(values)];

	for (size_t i = 0; i < COUNT_OF(values); i++) {
		struct buf why = BUF_INIT(1000);
		struct tls_policy p;
		struct smtp_settings s;

		settings_open(&s, arena_cstr(&a, arena_printf(&a, "inline:{{a.example=%s}}", values[i])));
		CHECK_INT(tls_policy_find(&s, STR("a.example"), &a, &p, &why), 0);
		keys[i] = p.key;
		for (size_t k = 0; k < i; k++)
			CHECK_CASE(!str_eq(keys[k], keys[i]), values[i]);
		maps_close(s.tls_policies);
		buf_done(&why);
	}
	arena_done(&a);
}
