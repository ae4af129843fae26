/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses to routes, as rows: what main.cf says, what goes in, what must come out. */
#include <errno.h>

#include "check.h"
#include "config/config.h"
#include "route/resolve.h"

#define BASICS \
	"compatibility_level = 3.6\nmyhostname = mx.example.com\nmydomain = example.com\nmyorigin = $mydomain\n" \
	"mydestination = $mydomain, localhost\nrecipient_delimiter = +\nlocal_recipient_maps =\n"

static struct config *config;

static struct router *router_of(const char *main_cf)
{
	const char *dir = check_folder();
	struct buf why = BUF_INIT(4096);
	struct router *r = NULL;
	char path[500];
	FILE *f;

	snprintf(path, sizeof(path), "%s/master.cf", dir);
	f = fopen(path, "w");
	fclose(f);
	snprintf(path, sizeof(path), "%s/main.cf", dir);
	f = fopen(path, "w");
	fprintf(f, "%s%s\n", BASICS, main_cf);
	fclose(f);
	config = config_load(str_of(dir), NULL, 0);
	if (router_new(config_main_view(config), &r, &why) != 0)
		check_failed(__FILE__, __LINE__, "%s: %s", main_cf, buf_cstr(&why));
	buf_done(&why);
	return r;
}

static void done(struct router *r)
{
	router_free(r);
	config_free(config);
}

static const char class_letters[] = "dlavr"; /* enum address_class */

/* "class transport:nexthop recipient", with "R" for routed and "E" for error behind the class. */
static struct str describe(struct router *r, const char *sender, const char *recipient, struct arena *a)
{
	struct buf why = BUF_INIT(1024);
	struct route route;
	struct str result;
	int err = router_resolve(r, str_of(sender), str_of(recipient), a, &route, &why);

	if (err)
		result = arena_printf(a, "!%d %s", err, buf_cstr(&why));
	else
		result = arena_printf(a, "%c%s%s %.*s:%.*s %.*s", class_letters[route.class], route.is_routed ? "R" : "",
		                      route.is_error ? "E" : "", STR_ARG(route.transport), STR_ARG(route.nexthop),
		                      STR_ARG(route.recipient));
	buf_done(&why);
	return result;
}

TEST(recipients_resolve)
{
	static const struct {
		const char *main_cf;
		const char *sender;
		const char *recipient;
		const char *want;
	} cases[] = {
		{"", "", "bob@example.com", "l local:mx.example.com bob@example.com"},
		{"", "", "bob@EXAMPLE.com.", "l local:mx.example.com bob@EXAMPLE.com"},
		{"", "", "bob", "d smtp:mx.example.com bob@mx.example.com"},
		{"", "", "bob@[127.0.0.1]", "l local:mx.example.com bob@[127.0.0.1]"},
		{"", "", "", "d smtp:mx.example.com MAILER-DAEMON@mx.example.com"},
		{"", "", "bob@other.org", "d smtp:other.org bob@other.org"},
		{"", "", "bob@Other.ORG", "d smtp:other.org bob@Other.ORG"},
		/* operators */
		{"", "", "bob%other.org@example.com", "d smtp:other.org bob@other.org"},
		{"", "", "other.org!bob@example.com", "d smtp:other.org bob@other.org"},
		{"", "", "bob@other.org@example.com", "d smtp:other.org bob@other.org"},
		{"", "", "a%b@other.org", "dR smtp:other.org a%b@other.org"},
		{"", "", "a%b%c.org@example.com", "dR smtp:c.org a%b@c.org"},
		{"allow_percent_hack = no", "", "a%b@example.com", "lR local:mx.example.com a%b@example.com"},
		{"resolve_dequoted_address = no\nswap_bangpath = no", "", "a@b@example.com",
	         "lR local:mx.example.com a@b@example.com"},
		/* syntax */
		{"", "", "bob@a..b", "dE error:5.1.3 bad address syntax bob@a..b"},
		{"", "", "bob@12345", "dE error:5.1.3 bad address syntax bob@12345"},
		{"", "", "bob@192.0.2.1", "dE error:5.1.3 bad address syntax bob@192.0.2.1"},
		{"resolve_numeric_domain = yes", "", "bob@192.0.2.1", "d smtp:[192.0.2.1] bob@192.0.2.1"},
		{"", "", "bob@[192.0.2.1]", "d smtp:[192.0.2.1] bob@[192.0.2.1]"},
		{"", "", "-bob@x.org", "dE error:5.1.3 Bad recipient address syntax -bob@x.org"},
		{"allow_min_user = yes", "", "-bob@x.org", "d smtp:x.org -bob@x.org"},
		/* classes, in their order */
		{"virtual_alias_domains = v.org", "", "bob@v.org", "a error:5.1.1 User unknown in virtual alias table bob@v.org"},
		{"virtual_alias_maps = inline:{v.org=x,{a@v.org=b}}", "", "bob@v.org",
	         "a error:5.1.1 User unknown in virtual alias table bob@v.org"},
		{"virtual_mailbox_domains = m.org", "", "bob@m.org", "v virtual:m.org bob@m.org"},
		{"virtual_mailbox_domains = m.org\nvirtual_transport = lmtp:unix:private/dovecot-lmtp", "", "bob@m.org",
	         "v lmtp:unix:private/dovecot-lmtp bob@m.org"},
		{"relay_domains = r.org", "", "bob@sub.r.org", "r relay:sub.r.org bob@sub.r.org"},
		{"relay_domains = example.com", "", "bob@example.com", "l local:mx.example.com bob@example.com"},
		{"relay_domains = v.org\nvirtual_alias_domains = v.org", "", "bob@v.org",
	         "a error:5.1.1 User unknown in virtual alias table bob@v.org"},
		/* relayhost and nexthops of transports */
		{"relayhost = [gw.org]:587", "", "bob@x.org", "d smtp:[gw.org]:587 bob@x.org"},
		{"relayhost = [gw.org]:587\nrelay_domains = r.org", "", "bob@r.org", "r relay:[gw.org]:587 bob@r.org"},
		{"relayhost = [gw.org]\nrelay_transport = relay:[in.org]\nrelay_domains = r.org", "", "bob@r.org",
	         "r relay:[in.org] bob@r.org"},
		{"relayhost = [gw.org]\ndefault_transport = smtp:[d.org]", "", "bob@x.org", "d smtp:[d.org] bob@x.org"},
		{"relayhost = [gw.org]\nvirtual_mailbox_domains = m.org", "", "bob@m.org", "v virtual:m.org bob@m.org"},
		{"relayhost = g.org\nsender_dependent_relayhost_maps = inline:{a@s.org=[s.gw],{@t.org=DUNNO}}", "a@s.org",
	         "bob@x.org", "d smtp:[s.gw] bob@x.org"},
		{"relayhost = g.org\nsender_dependent_relayhost_maps = inline:{a@s.org=[s.gw],{@t.org=DUNNO}}", "a@t.org",
	         "bob@x.org", "d smtp:g.org bob@x.org"},
		{"sender_dependent_relayhost_maps = inline:{{<>=[null.gw]}}", "", "bob@x.org", "d smtp:[null.gw] bob@x.org"},
		{"sender_dependent_default_transport_maps = inline:{{@s.org=slow:}}\nrelayhost = g.org", "a@s.org", "bob@x.org",
	         "d slow:g.org bob@x.org"},
		{"sender_dependent_default_transport_maps = inline:{{@s.org=slow:}}\nrelay_domains = x.org", "a@s.org",
	         "bob@x.org", "r relay:x.org bob@x.org"},
		/* transport_maps */
		{"transport_maps = inline:{x.org=slow:[h]:25}", "", "bob@x.org", "d slow:[h]:25 bob@x.org"},
		{"transport_maps = inline:{x.org=slow:}\nrelayhost = g.org", "", "bob@x.org", "d slow:x.org bob@x.org"},
		{"transport_maps = inline:{x.org=smtp:}\nrelayhost = g.org", "", "bob@x.org", "d smtp:x.org bob@x.org"},
		{"transport_maps = inline:{x.org=:[h]}", "", "bob@x.org", "d smtp:[h] bob@x.org"},
		{"transport_maps = inline:{x.org=:}\nrelayhost = g.org", "", "bob@x.org", "d smtp:g.org bob@x.org"},
		{"transport_maps = inline:{.x.org=slow:}", "", "bob@a.b.x.org", "d slow:a.b.x.org bob@a.b.x.org"},
		{"transport_maps = inline:{.x.org=slow:}", "", "bob@x.org", "d smtp:x.org bob@x.org"},
		{"transport_maps = inline:{x.org=slow:}", "", "bob@a.x.org", "d smtp:a.x.org bob@a.x.org"},
		{"transport_maps = inline:{x.org=slow:}\nparent_domain_matches_subdomains = transport_maps", "", "bob@a.x.org",
	         "d slow:a.x.org bob@a.x.org"},
		{"transport_maps = inline:{*=slow:, bob@x.org=fast:}", "", "bob+ext@x.org", "d fast:x.org bob+ext@x.org"},
		{"transport_maps = inline:{*=slow:, bob@x.org=fast:}", "", "bob@example.com",
	         "l slow:example.com bob@example.com"},
		{"transport_maps = inline:{*=slow:}\nvirtual_alias_domains = v.org", "", "bob@v.org",
	         "a error:5.1.1 User unknown in virtual alias table bob@v.org"},
		{"transport_maps = regexp:{{/@x\\.org$$/ slow:}}", "", "bob@x.org", "d slow:x.org bob@x.org"},
		{"transport_maps = inline:{{x.org=error:5.7.1 no mail}}", "", "bob@x.org", "dE error:5.7.1 no mail bob@x.org"},
		{"transport_maps = inline:{x.org=slow:}\nrelocated_maps = inline:{bob@x.org=bob@y.org}", "", "bob@x.org",
	         "dE error:5.1.6 User has moved to bob@y.org bob@x.org"},
		/* failures */
		{"transport_maps = fail:x", "", "bob@x.org", "!-11 table fail:x: lookups fail by design"},
		{"relay_domains = fail:x", "", "bob@x.org", "!-11 table fail:x: lookups fail by design"},
		{"relay_domains = fail:x", "", "bob@example.com", "l local:mx.example.com bob@example.com"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct router *r = router_of(cases[i].main_cf);
		struct arena a = ARENA_INIT;
		struct str got = describe(r, cases[i].sender, cases[i].recipient, &a);

		if (!str_eq(got, str_of(cases[i].want)))
			check_failed(__FILE__, __LINE__, "case %zu: \"%s\" <%s>: got \"%.*s\", want \"%s\"", i, cases[i].main_cf,
			             cases[i].recipient, STR_ARG(got), cases[i].want);
		arena_done(&a);
		done(r);
	}
}

TEST(addresses_become_standard_form)
{
	static const struct {
		const char *main_cf;
		const char *address;
		const char *want;
	} cases[] = {
		{"", "bob", "bob@example.com"},
		{"", "", ""},
		{"", "bob@x.org", "bob@x.org"},
		{"", "bob@x.org.", "bob@x.org"},
		{"", "bob@x.org..", "bob@x.org.."},
		{"", "@a,@b:bob@x.org", "bob@x.org"},
		{"", "site!bob", "bob@site"},
		{"", "bob%x.org", "bob@x.org"},
		{"", "bob@host", "bob@host"},
		{"append_dot_mydomain = yes", "bob@host", "bob@host.example.com"},
		{"append_dot_mydomain = yes", "bob@[1.2.3.4]", "bob@[1.2.3.4]"},
		{"append_at_myorigin = no", "bob", "bob"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct router *r = router_of(cases[i].main_cf);
		struct arena a = ARENA_INIT;

		CHECK_STR(router_rewrite(r, str_of(cases[i].address), STR("example.com"), &a), str_of(cases[i].want));
		arena_done(&a);
		done(r);
	}
}

TEST(recipients_exist_as_their_class_says)
{
	static const struct {
		const char *main_cf;
		const char *recipient;
		int want;
		const char *table;
	} cases[] = {
		{"", "nobody@example.com", 1, NULL},
		{"local_recipient_maps = inline:{bob=x}", "bob@example.com", 1, NULL},
		{"local_recipient_maps = inline:{bob=x}", "Bob+ext@example.com", 1, NULL},
		{"local_recipient_maps = inline:{bob=x}", "ann@example.com", 0, "local recipient table"},
		{"local_recipient_maps = unix:passwd.byname", "root@example.com", 1, NULL},
		{"local_recipient_maps = inline:{bob=x}\nvirtual_alias_maps = inline:{ann@example.com=x}", "ann@example.com", 1,
	         NULL},
		{"local_recipient_maps = inline:{bob=x}\ncanonical_maps = inline:{ann=x}", "ann@example.com", 1, NULL},
		{"local_recipient_maps = fail:x", "ann@example.com", -EAGAIN, NULL},
		{"virtual_mailbox_domains = m.org\nvirtual_mailbox_maps = inline:{a@m.org=x}", "a@m.org", 1, NULL},
		{"virtual_mailbox_domains = m.org\nvirtual_mailbox_maps = inline:{a@m.org=x}", "b@m.org", 0,
	         "virtual mailbox table"},
		{"virtual_mailbox_domains = m.org\nvirtual_mailbox_maps = inline:{@m.org=x}", "b@m.org", 1, NULL},
		{"virtual_alias_domains = v.org\nvirtual_alias_maps = inline:{a@v.org=x}", "a@v.org", 1, NULL},
		{"virtual_alias_domains = v.org\nvirtual_alias_maps = inline:{a@v.org=x}", "b@v.org", 0, "virtual alias table"},
		{"relay_domains = r.org", "b@r.org", 1, NULL},
		{"relay_domains = r.org\nrelay_recipient_maps = inline:{a@r.org=x}", "b@r.org", 0, "relay recipient table"},
		{"", "b@x.org", 1, NULL},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct router *r = router_of(cases[i].main_cf);
		struct arena a = ARENA_INIT;
		struct buf why = BUF_INIT(1024);
		struct route route;
		const char *table;

		CHECK_INT(router_resolve(r, STR(""), str_of(cases[i].recipient), &a, &route, &why), 0);
		CHECK_CASE(router_recipient_exists(r, &route, &a, &table, &why) == cases[i].want, cases[i].main_cf);
		if (cases[i].want == 0)
			CHECK_STR(str_of(table), str_of(cases[i].table));
		buf_done(&why);
		arena_done(&a);
		done(r);
	}
}

TEST(virtual_aliases_expand)
{
	static const struct {
		const char *main_cf;
		const char *address;
		const char *want;
	} cases[] = {
		{"", "a@v.org", "a@v.org"},
		{"virtual_alias_maps = inline:{a@v.org=b@w.org}", "a@v.org", "b@w.org"},
		{"virtual_alias_maps = inline:{{a@v.org = b@w.org, <c@w.org> d}}", "a@v.org", "b@w.org c@w.org d@example.com"},
		{"virtual_alias_maps = inline:{{a@v.org = b@v.org}, {b@v.org = c@v.org, a@x.org}}", "a@v.org", "c@v.org a@x.org"},
		{"virtual_alias_maps = inline:{{a@v.org = a@v.org, b@v.org}}", "a@v.org", "a@v.org b@v.org"},
		{"virtual_alias_maps = inline:{{a@v.org = b@v.org}, {b@v.org = a@v.org}}", "a@v.org", "a@v.org"},
		{"virtual_alias_maps = inline:{a@v.org=b@w.org}", "a+x@v.org", "b+x@w.org"},
		{"virtual_alias_maps = inline:{a@v.org=b@w.org}\npropagate_unmatched_extensions =", "a+x@v.org", "b@w.org"},
		{"virtual_alias_maps = inline:{@v.org=@w.org}", "a+x@v.org", "a+x@w.org"},
		{"virtual_alias_maps = inline:{bob=b@w.org}", "bob@example.com", "b@w.org"},
		{"virtual_alias_maps = inline:{bob=b@w.org}", "bob@v.org", "bob@v.org"},
		{"virtual_alias_maps = regexp:{{/^(.*)@v\\.org$$/ $$1@w.org}}", "a@v.org", "a@w.org"},
		{"virtual_alias_maps = regexp:{{/^(.*)@v\\.org$$/ x$$1@v.org}}\nvirtual_alias_recursion_limit = 10", "a@v.org",
	         "!-7"},
		{"virtual_alias_maps = regexp:{{/^(.*)@v\\.org$$/ x$$1@v.org}}\nvirtual_alias_address_length_limit = 10",
	         "a@v.org", "!-7"},
		{"virtual_alias_maps = inline:{{a@v.org = b, c, d, e}}\nvirtual_alias_expansion_limit = 3", "a@v.org", "!-7"},
		{"virtual_alias_maps = fail:x", "a@v.org", "!-11"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct router *r = router_of(cases[i].main_cf);
		struct arena a = ARENA_INIT;
		struct buf why = BUF_INIT(4096), got = BUF_INIT(4096);
		struct str *addresses;
		size_t count = 0;
		int err = router_expand_virtual(r, str_of(cases[i].address), &a, &addresses, &count, &why);

		if (err)
			buf_addf(&got, "!%d", err);
		for (size_t k = 0; k < count; k++)
			buf_addf(&got, "%s%.*s", k > 0 ? " " : "", STR_ARG(addresses[k]));
		CHECK_STR(buf_str(&got), str_of(cases[i].want));
		buf_done(&got);
		buf_done(&why);
		arena_done(&a);
		done(r);
	}
}

TEST(canonical_maps_and_masquerading_follow_their_classes)
{
	static const struct {
		const char *main_cf;
		const char *address;
		bool is_sender, is_header;
		const char *want;
	} cases[] = {
		{"", "a@x.org", true, false, "a@x.org"},
		{"canonical_maps = inline:{a@x.org=b@y.org}", "a@x.org", false, false, "b@y.org"},
		{"canonical_maps = inline:{a@x.org=b@y.org}\ncanonical_classes = header_sender", "a@x.org", false, false,
	         "a@x.org"},
		{"canonical_maps = inline:{a@x.org=b}", "a+e@x.org", true, true, "b+e@example.com"},
		{"sender_canonical_maps = inline:{a@x.org=b@x.org}\ncanonical_maps = inline:{b@x.org=c@x.org}", "a@x.org", true,
	         false, "c@x.org"},
		{"sender_canonical_maps = inline:{a@x.org=b@x.org}", "a@x.org", false, true, "a@x.org"},
		{"recipient_canonical_maps = inline:{a@x.org=b@x.org}", "a@x.org", false, true, "b@x.org"},
		{"masquerade_domains = x.org", "a@h.x.org", true, false, "a@x.org"},
		{"masquerade_domains = x.org", "a@h.x.org", false, false, "a@h.x.org"},
		{"masquerade_domains = !h.x.org x.org", "a@k.h.x.org", true, false, "a@k.h.x.org"},
		{"masquerade_domains = x.org\nmasquerade_exceptions = root", "root@h.x.org", true, false, "root@h.x.org"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct router *r = router_of(cases[i].main_cf);
		struct arena a = ARENA_INIT;
		struct buf why = BUF_INIT(4096);
		struct str got = {NULL, 0};

		enum address_side side = cases[i].is_sender
		                                 ? (cases[i].is_header ? SIDE_HEADER_SENDER : SIDE_ENVELOPE_SENDER)
		                                 : (cases[i].is_header ? SIDE_HEADER_RECIPIENT : SIDE_ENVELOPE_RECIPIENT);

		CHECK_INT(router_canonical(r, str_of(cases[i].address), side, &a, &got, &why), 0);
		CHECK_STR(got, str_of(cases[i].want));
		buf_done(&why);
		arena_done(&a);
		done(r);
	}
}

TEST(an_address_waits_while_it_cannot_be_told_whether_it_is_masqueraded)
{
	struct router *r = router_of("masquerade_domains = x.org\nmasquerade_exceptions = fail:broken");
	struct arena a = ARENA_INIT;
	struct buf why = BUF_INIT(4096);
	struct str got = {NULL, 0};

	CHECK_INT(router_canonical(r, STR("a@h.x.org"), SIDE_HEADER_SENDER, &a, &got, &why), -EAGAIN);
	CHECK(why.len > 0);
	/* Recipients of the envelope are not masqueraded. */
	CHECK_INT(router_canonical(r, STR("a@h.x.org"), SIDE_ENVELOPE_RECIPIENT, &a, &got, &why), 0);
	CHECK_STR(got, STR("a@h.x.org"));
	buf_done(&why);
	arena_done(&a);
	done(r);
}
