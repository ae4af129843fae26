/* SPDX-License-Identifier: Apache-2.0 */
/* Nexthops, their MX and address records, and the order of trial. */
#include "role/smtp/target.h"

#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>

#include "base/random.h"
#include "config/config.h"
#include "config/params.h"
#include "net/dns.h"
#include "net/ip.h"

enum {
	OWN_MAX = 256,
	TARGETS_MAX = 48,
	MX_TIMEOUT_S = 60,
	MX_NAMES_MAX = 30, /* hosts of one domain that are looked up */
	MX_NAMES_S = 60    /* ... and how long another one is begun with */
};

static struct sockaddr_storage own[OWN_MAX];
static size_t own_count;

static void own_add(const struct sockaddr *a)
{
	if (own_count < OWN_MAX && (a->sa_family == AF_INET || a->sa_family == AF_INET6))
		memcpy(&own[own_count++], a, ip_size(a));
}

static void own_add_list(struct str list)
{
	struct str item;
	struct sockaddr_storage a;

	while (str_next(&list, " \t\r\n,", &item)) {
		if (str_starts(item, STR("[")) && str_ends(item, STR("]")))
			item = str_cut(item, 1, item.len - 2);
		if (!ip_parse(item, 0, &a))
			own_add((struct sockaddr *)&a);
	}
}

static void own_add_interfaces(void)
{
	struct ifaddrs *list;

	if (getifaddrs(&list))
		return;
	for (struct ifaddrs *i = list; i; i = i->ifa_next)
		if (i->ifa_addr)
			own_add(i->ifa_addr);
	freeifaddrs(list);
}

void targets_note_own(const struct config *c)
{
	const struct params *p = config_main_view(c)->params;
	struct str list = p->inet_interfaces, item;

	own_count = 0;
	own_add_list(p->proxy_interfaces);
	own_add_list(p->inet_interfaces);
	while (str_next(&list, " \t\r\n,", &item)) {
		if (str_eq_nocase(item, STR("all")))
			own_add_interfaces();
		else if (str_eq_nocase(item, STR("loopback-only")) || str_eq_nocase(item, STR("localhost")))
			own_add_list(STR("127.0.0.1 ::1"));
	}
}

static bool is_own(const struct target *t)
{
	for (size_t i = 0; i < own_count; i++)
		if (ip_is_same_host((const struct sockaddr *)&own[i], (const struct sockaddr *)&t->address))
			return true;
	return false;
}

int nexthop_parse(struct str text, const struct smtp_settings *s, struct nexthop *ret_nexthop)
{
	struct nexthop n = {.port = s->port};
	struct str port = STR("");

	if (s->is_lmtp && str_starts(text, STR("unix:"))) {
		n.path = str_from(text, 5);
		*ret_nexthop = n;
		return n.path.len ? 0 : -EINVAL;
	}
	if (s->is_lmtp && str_starts(text, STR("inet:")))
		text = str_from(text, 5);
	if (str_starts(text, STR("["))) {
		size_t end = str_find(text, ']');

		n.has_brackets = true;
		n.host = str_cut(text, 1, end - 1);
		port = str_from(text, end + 1);
		if (end == text.len || (port.len && port.ptr[0] != ':'))
			return -EINVAL;
		port = str_from(port, 1);
		if (str_starts_nocase(n.host, STR("ipv6:")))
			n.host = str_from(n.host, 5);
	} else if (!str_split(text, ':', &n.host, &port)) {
		n.host = text;
	}
	*ret_nexthop = n;
	if (!n.host.len)
		return -EINVAL;
	return port.len && ip_parse_port(port, &ret_nexthop->port) ? -EINVAL : 0;
}

/* Collects targets while lookups go on. */
struct search {
	const struct smtp_settings *settings;
	struct arena *arena;
	uint16_t port;
	struct str mx_domain;
	bool is_mx_secure;
	struct target_list list;
	size_t room;            /* in list.targets */
	struct verdict verdict; /* of the last lookup that failed */
};

/* A place for one more, at the end of the list; NULL when there are enough. */
static struct target *search_place(struct search *s)
{
	struct target *more;

	if (s->list.count == TARGETS_MAX)
		return NULL;
	if (s->list.count == s->room) {
		s->room = s->room ? 4 * s->room : 3;
		more = arena_alloc(s->arena, s->room * sizeof(*more));
		if (s->list.count)
			memcpy(more, s->list.targets, s->list.count * sizeof(*more));
		s->list.targets = more;
	}
	return &s->list.targets[s->list.count];
}

static void search_failed(struct search *s, const struct dns_answer *answer)
{
	/* A failure that may pass is remembered rather than one that is for good. */
	bool is_permanent = answer->status == DNS_NO_DATA || answer->status == DNS_NO_NAME;

	if (s->verdict.text.len && !s->verdict.is_permanent)
		return;
	s->verdict = (struct verdict){.is_permanent = is_permanent, .is_site = true, .text = answer->reason};
	s->verdict.dsn = is_permanent ? STR("5.4.4") : STR("4.4.3");
}

static bool is_absent(const struct dns_answer *answer)
{
	return answer->status == DNS_NO_NAME || answer->status == DNS_NO_DATA;
}

/* The hosts file after the DNS where both are asked, as documented. What it says is not signed. */
static int find_addresses(struct search *s, struct str host, struct dns_answer *ret_answer)
{
	const struct smtp_settings *c = s->settings;
	struct str *names;
	size_t count = dns_search_names(host, c->dns_search, s->arena, &names);
	int err = 0;

	for (size_t i = 0; !err && i < count; i++) {
		err = dns_addresses(names[i], !c->asks_dns, c->wants_v4, c->wants_v6, s->arena, ret_answer);
		if (err || !is_absent(ret_answer))
			return err;
	}
	if (c->asks_dns && c->asks_hosts)
		err = dns_addresses(host, true, c->wants_v4, c->wants_v6, s->arena, ret_answer);
	return err;
}

static int find_mx(struct search *s, struct str domain, struct dns_answer *ret_answer)
{
	struct str *names;
	size_t count = dns_search_names(domain, s->settings->dns_search, s->arena, &names);
	int err = 0;

	for (size_t i = 0; !err && i < count; i++) {
		err = dns_lookup(names[i], DNS_MX, duration_s(MX_TIMEOUT_S), s->arena, ret_answer);
		if (err || !is_absent(ret_answer))
			break;
	}
	return err;
}

static int search_host(struct search *s, struct str host, uint16_t preference)
{
	struct dns_answer answer = {.status = DNS_NO_NAME};
	int err = find_addresses(s, host, &answer);

	if (err == -ECANCELED)
		return err;
	if (err)
		answer = (struct dns_answer){
			.status = DNS_TRY_AGAIN,
			.reason = arena_printf(s->arena,
		                               "Host or domain name not found. Name service error for name=%.*s "
		                               "type=A: Host not found, try again",
		                               STR_ARG(host))};
	if (answer.status != DNS_FOUND)
		search_failed(s, &answer);
	for (size_t i = 0; i < answer.count; i++) {
		struct target *t = search_place(s);

		if (!t)
			break;
		*t = (struct target){.host = arena_str(s->arena, host), .preference = preference};
		t->expanded = answer.canonical;
		t->mx_domain = s->mx_domain;
		t->is_mx_secure = s->is_mx_secure;
		t->is_secure = s->settings->uses_dnssec && answer.is_secure;
		if (!ip_from_bytes(answer.records[i].data, s->port, &t->address))
			s->list.count++;
	}
	return 0;
}

/* As many addresses as are tried at most, and of either family where both shall be tried? Those of worse hosts are in no demand.
 */
static bool has_enough(const struct search *s)
{
	const struct smtp_settings *c = s->settings;
	size_t v6_count = 0;

	if (s->list.count == TARGETS_MAX)
		return true;
	if (c->address_limit <= 0 || s->list.count < (size_t)c->address_limit)
		return false;
	for (size_t i = 0; i < s->list.count; i++)
		v6_count += s->list.targets[i].address.ss_family == AF_INET6;
	return !c->balances || !c->wants_v4 || !c->wants_v6 || (v6_count && v6_count < s->list.count);
}

static int search_mx(struct search *s, struct str domain, const struct dns_answer *mx)
{
	struct instant deadline = clock_deadline(duration_s(MX_NAMES_S));
	bool is_cut_short = false;
	int err = 0;

	s->mx_domain = mx->canonical;
	s->is_mx_secure = s->settings->uses_dnssec && mx->is_secure;
	if (mx->count == 1 && !mx->records[0].name.len) {
		s->verdict = (struct verdict){.is_permanent = true, .is_site = true, .dsn = STR("5.1.0")};
		s->verdict.text = arena_printf(s->arena, "Domain %.*s does not accept mail (nullMX)", STR_ARG(domain));
		return -EHOSTUNREACH;
	}
	for (size_t i = 0; !err && !is_cut_short && i < mx->count; i++) {
		const struct dns_record *r = &mx->records[i];

		/* One that is our own stands in the way of those that are as good. */
		if (i && r->preference != mx->records[i - 1].preference && has_enough(s))
			break;
		is_cut_short = i == MX_NAMES_MAX || !instant_is_before(clock_now(), deadline);
		if (!is_cut_short && r->name.len)
			err = search_host(s, r->name, r->preference);
	}
	/* Who knows what the others are. */
	if (is_cut_short && !s->list.count && s->verdict.is_permanent) {
		s->verdict.is_permanent = false;
		s->verdict.dsn = STR("4.4.3");
	}
	return err;
}

/* Our own address among the MX hosts: it and whatever is no better would only lead back here. */
static int drop_own(struct search *s, struct str domain)
{
	size_t own_at = 0, kept = 0;
	unsigned own_preference;

	while (own_at < s->list.count && !is_own(&s->list.targets[own_at]))
		own_at++;
	if (own_at == s->list.count)
		return 0;
	own_preference = s->list.targets[own_at].preference;
	for (size_t i = 0; i < s->list.count; i++) {
		const struct target *t = &s->list.targets[i];

		if (is_own(t) && t->preference < own_preference)
			own_preference = t->preference;
	}
	for (size_t i = 0; i < s->list.count; i++)
		if (s->list.targets[i].preference < own_preference)
			s->list.targets[kept++] = s->list.targets[i];
	s->list.count = kept;
	if (kept)
		return 0;
	s->verdict = (struct verdict){.is_permanent = true, .is_site = true, .is_loop = true, .dsn = STR("5.4.6")};
	s->verdict.text = arena_printf(s->arena, "mail for %.*s loops back to myself", STR_ARG(domain));
	return -EHOSTUNREACH;
}

static bool comes_first(const struct target *a, const struct target *b, struct str family)
{
	bool is_v6 = str_eq_nocase(family, STR("ipv6")), is_v4 = str_eq_nocase(family, STR("ipv4"));

	if (a->preference != b->preference)
		return a->preference < b->preference;
	if (a->address.ss_family == b->address.ss_family)
		return false;
	return (is_v6 && a->address.ss_family == AF_INET6) || (is_v4 && a->address.ss_family == AF_INET);
}

/* By preference; equal ones in any order, so that the load spreads, but the preferred family first. */
static void order_targets(struct search *s)
{
	struct target *t = s->list.targets;

	for (size_t i = s->list.count; s->settings->randomizes && i > 1; i--) {
		size_t other = random_below((uint32_t)i);
		struct target swap = t[i - 1];

		t[i - 1] = t[other];
		t[other] = swap;
	}
	for (size_t i = 1; i < s->list.count; i++) {
		struct target moving = t[i];
		size_t at = i;

		for (; at > 0 && comes_first(&moving, &t[at - 1], s->settings->address_preference); at--)
			t[at] = t[at - 1];
		t[at] = moving;
	}
}

/* When the limit would leave one family alone, the last place goes to the first address of the other. */
static void limit_targets(struct search *s)
{
	size_t limit = s->settings->address_limit > 0 ? (size_t)s->settings->address_limit : SIZE_MAX;
	struct target *t = s->list.targets;
	size_t other = limit;

	if (s->list.count <= limit)
		return;
	for (size_t i = 1; i < limit; i++)
		if (t[i].address.ss_family != t[0].address.ss_family)
			other = s->list.count;
	while (other < s->list.count && t[other].address.ss_family == t[0].address.ss_family)
		other++;
	if (s->settings->balances && limit > 1 && other < s->list.count)
		t[limit - 1] = t[other];
	s->list.count = limit;
}

static int search_domain(struct search *s, const struct nexthop *nexthop)
{
	struct dns_answer mx = {.status = DNS_NO_NAME};
	int err = find_mx(s, nexthop->host, &mx);

	if (err == -ECANCELED)
		return err;
	if (err)
		mx = (struct dns_answer){
			.status = DNS_TRY_AGAIN,
			.reason = arena_printf(s->arena,
		                               "Host or domain name not found. Name service error for name=%.*s type=MX: "
		                               "Host not found, try again",
		                               STR_ARG(nexthop->host))};
	if (mx.status == DNS_FOUND)
		err = search_mx(s, nexthop->host, &mx);
	else if (mx.status == DNS_NO_DATA || mx.status == DNS_NO_NAME || s->settings->params->ignore_mx_lookup_error)
		err = search_host(s, nexthop->host, 0);
	else
		search_failed(s, &mx), err = -EHOSTUNREACH;
	if (!err && s->port == s->settings->port)
		err = drop_own(s, nexthop->host);
	return err;
}

int targets_find(const struct nexthop *nexthop, const struct smtp_settings *settings, struct arena *a,
                 struct target_list *ret_list, struct verdict *ret_verdict)
{
	struct search s = {.settings = settings, .arena = a, .port = nexthop->port, .is_mx_secure = true};
	bool uses_mx = settings->uses_dns && !nexthop->has_brackets && !settings->is_lmtp;
	int err;

	err = uses_mx ? search_domain(&s, nexthop) : search_host(&s, nexthop->host, 0);
	if (err != -ECANCELED && !s.list.count)
		err = -EHOSTUNREACH;
	if (err == -EHOSTUNREACH && !s.verdict.text.len) {
		s.verdict = (struct verdict){.is_site = true, .dsn = STR("4.4.4")};
		s.verdict.text = arena_printf(a, "unable to find primary relay for %.*s", STR_ARG(nexthop->host));
	}
	*ret_verdict = s.verdict;
	if (err)
		return err;
	order_targets(&s);
	limit_targets(&s);
	*ret_list = s.list;
	return 0;
}
