/* SPDX-License-Identifier: Apache-2.0 */
/*
 * postrider dane: which hosts take the mail of a domain, what DNSSEC says about them, and what mail would
 * demand of each. The very code of delivery asks and decides; no host is connected to.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd/commands.h"
#include "config/config.h"
#include "config/params.h"
#include "fiber/fiber.h"
#include "net/dns.h"
#include "net/ip.h"
#include "role/smtp/dane.h"

struct report {
	const char *transport;
	char **nexthops; /* up to NULL */
	const struct smtp_settings *settings;
	int status;
};

static const char *yes_or_no(bool is)
{
	return is ? "yes" : "no";
}

static void show_demand(const struct tls_policy *p)
{
	const char *text = "encrypted where the host offers it, whoever it is (may)";

	if (p->level == CLIENT_TLS_NONE)
		text = "in clear (none)";
	else if (p->level == CLIENT_TLS_ENCRYPT)
		text = "encrypted, whoever the host is (encrypt)";
	else if (p->level == CLIENT_TLS_DANE)
		text = p->dane->is_half
		               ? "encrypted, if the host matches a TLSA record; the MX record that named it is not signed"
		               : "encrypted, if the host matches a TLSA record (dane)";
	else if (p->level > CLIENT_TLS_ENCRYPT)
		text = "encrypted, if its certificate is the one that is demanded";
	printf("    mail goes:      %s\n", text);
}

static void show_records(const struct dane *d)
{
	struct str rest = d->text, line;

	printf("    TLSA records:   %zu in use, below %.*s\n", d->count, STR_ARG(d->base));
	while (str_next(&rest, "\n", &line))
		printf("      %.*s\n", STR_ARG(line));
}

/* True when mail may go there. */
static bool show_target(const struct report *r, const struct tls_policy *policy, const struct target *t, struct arena *a)
{
	struct tls_outcome outcome = {0};
	struct connection_wish wish = {.settings = r->settings, .policy = policy, .target = t, .outcome = &outcome};
	struct verdict v = {0};
	char text[IP_TEXT_SIZE];
	const struct sockaddr *address = (const struct sockaddr *)&t->address;
	int err = 0;

	printf("  %.*s[%s]:%u\n    MX signed:      %s\n    address signed: %s\n", STR_ARG(t->host), ip_format(address, text),
	       ip_port(address), t->mx_domain.len ? yes_or_no(t->is_mx_secure) : "none was asked for", yes_or_no(t->is_secure));
	if (!str_eq_nocase(t->host, t->expanded))
		printf("    stands for:     %.*s\n", STR_ARG(t->expanded));
	if (policy->level == CLIENT_TLS_DANE || policy->level == CLIENT_TLS_DANE_ONLY)
		err = dane_find(&wish, a, &v);
	if (!err && wish.policy->dane)
		show_records(wish.policy->dane);
	if (err)
		printf("    mail goes:      not there: %.*s\n", STR_ARG(v.text));
	else
		show_demand(wish.policy);
	return !err;
}

static int show(struct report *r, const char *text, struct arena *a)
{
	struct buf why = BUF_INIT(4096);
	struct tls_policy policy;
	struct nexthop nexthop;
	struct target_list list = {0};
	struct verdict v = {0};
	size_t good = 0;
	int err = nexthop_parse(str_of(text), r->settings, &nexthop);

	if (err || nexthop.path.len)
		buf_addf(&why, "no nexthop that has hosts");
	else
		err = tls_policy_find(r->settings, str_of(text), a, &policy, &why);
	if (!err && !why.len) {
		err = targets_find(&nexthop, r->settings, a, &list, &v);
		if (err)
			buf_add(&why, v.text);
	}
	printf("%s\n", text);
	if (why.len)
		printf("  %s\n", buf_cstr(&why));
	for (size_t i = 0; i < list.count; i++)
		good += show_target(r, &policy, &list.targets[i], a);
	buf_done(&why);
	return good ? 0 : 1;
}

static void run(void *arg)
{
	struct report *r = arg;

	r->status = 0;
	for (char **at = r->nexthops; *at; at++) {
		struct arena a = ARENA_INIT;

		r->status |= show(r, *at, &a);
		arena_done(&a);
	}
	loop_stop();
}

static int complain(const char *text)
{
	fprintf(stderr, "postrider dane: %s\n", text);
	return -EINVAL;
}

static int load(struct report *r, const struct config *c)
{
	struct buf why = BUF_INIT(8192);
	int err = config_has_errors(c) ? complain("the configuration has errors: postfix check tells them") : 0;

	if (!err && (smtp_settings_load(c, &why) || dns_init(config_main_view(c), &why)))
		err = complain(buf_cstr(&why));
	buf_done(&why);
	if (err)
		return err;
	targets_note_own(c);
	r->settings = smtp_settings_find(str_of(r->transport));
	if (!r->settings)
		return complain("that is no smtp or lmtp transport of master.cf");
	if (r->settings->dane_obstacle.len)
		printf("TLSA records count for nothing: %.*s\n", STR_ARG(r->settings->dane_obstacle));
	return 0;
}

int cmd_dane(int argc, char **argv)
{
	struct report r = {.transport = "smtp", .status = 2};
	const char *dir = NULL;
	struct config *c;
	int option;

	while ((option = getopt(argc, argv, "c:t:")) != -1) {
		if (option == 'c')
			dir = optarg;
		else if (option == 't')
			r.transport = optarg;
		else
			return 2;
	}
	r.nexthops = argv + optind;
	if (!*r.nexthops) {
		(void)complain("which domain? See postrider dane --help");
		return 2;
	}
	c = config_load(command_config_dir(dir), NULL, 0);
	if (!load(&r, c)) {
		loop_init();
		fiber_start("dane", run, &r);
		loop_run();
		dns_done();
		loop_done();
	}
	smtp_settings_free();
	config_free(c);
	return r.status;
}
