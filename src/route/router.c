/* SPDX-License-Identifier: Apache-2.0 */
/* Opening of a router, and the classes of domains. */
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <arpa/inet.h>

#include "base/base.h"
#include "mail/address.h"
#include "route/router_internal.h"
#include "table/ip_set.h"

int as_temporary(int err)
{
	return err == 0 || err == -ENOENT ? err : -EAGAIN;
}

static int parse_sides(const char *name, struct str list, unsigned *ret_sides, struct buf *why)
{
	static const struct {
		struct str name;
		enum address_side side;
	} classes[] = {
		{{"envelope_sender", 15}, SIDE_ENVELOPE_SENDER},
		{{"envelope_recipient", 18}, SIDE_ENVELOPE_RECIPIENT},
		{{"header_sender", 13}, SIDE_HEADER_SENDER},
		{{"header_recipient", 16}, SIDE_HEADER_RECIPIENT},
	};
	unsigned sides = 0;
	struct str word;

	while (str_next(&list, ", \t\r\n", &word)) {
		size_t i = 0;

		while (i < COUNT_OF(classes) && !str_eq_nocase(classes[i].name, word))
			i++;
		if (i == COUNT_OF(classes)) {
			buf_addf(why, "%s: unknown class \"%.*s\"", name, STR_ARG(word));
			return -EINVAL;
		}
		sides |= classes[i].side;
	}
	*ret_sides = sides;
	return 0;
}

static int read_sides(struct router *r, struct buf *why)
{
	const struct params *p = r->params;
	int err = parse_sides("canonical_classes", p->canonical_classes, &r->canonical_sides, why);

	if (!err)
		err = parse_sides("sender_canonical_classes", p->sender_canonical_classes, &r->sender_canonical_sides, why);
	if (!err)
		err = parse_sides("recipient_canonical_classes", p->recipient_canonical_classes, &r->recipient_canonical_sides,
		                  why);
	return err ? err : parse_sides("masquerade_classes", p->masquerade_classes, &r->masquerade_sides, why);
}

static int open_maps(struct router *r, struct buf *why)
{
	const struct params *p = r->params;
	const struct {
		enum router_map which;
		const char *name;
		struct str text;
		unsigned flags;
	} all[] = {
		{MAP_TRANSPORT, "transport_maps", p->transport_maps, TABLE_NO_REGSUB},
		{MAP_VIRTUAL_ALIAS, "virtual_alias_maps", p->virtual_alias_maps, 0},
		{MAP_VIRTUAL_MAILBOX, "virtual_mailbox_maps", p->virtual_mailbox_maps, 0},
		{MAP_LOCAL_RECIPIENT, "local_recipient_maps", p->local_recipient_maps, 0},
		{MAP_RELAY_RECIPIENT, "relay_recipient_maps", p->relay_recipient_maps, 0},
		{MAP_RELOCATED, "relocated_maps", p->relocated_maps, 0},
		{MAP_SENDER_RELAYHOST, "sender_dependent_relayhost_maps", p->sender_dependent_relayhost_maps, 0},
		{MAP_SENDER_TRANSPORT, "sender_dependent_default_transport_maps", p->sender_dependent_default_transport_maps,
	         TABLE_NO_REGSUB},
		{MAP_CANONICAL, "canonical_maps", p->canonical_maps, 0},
		{MAP_SENDER_CANONICAL, "sender_canonical_maps", p->sender_canonical_maps, 0},
		{MAP_RECIPIENT_CANONICAL, "recipient_canonical_maps", p->recipient_canonical_maps, 0},
		{MAP_SENDER_BCC, "sender_bcc_maps", p->sender_bcc_maps, 0},
		{MAP_RECIPIENT_BCC, "recipient_bcc_maps", p->recipient_bcc_maps, 0},
	};

	for (size_t i = 0; i < COUNT_OF(all); i++) {
		struct buf problem = BUF_INIT(1 << 20);
		int err = maps_open(all[i].text, TABLE_FOLD | TABLE_SURROGATE | all[i].flags, r->view, &r->maps[all[i].which],
		                    &problem);

		if (problem.len > 0)
			buf_addf(why, "%s%s: %s", why->len > 0 ? "\n" : "", all[i].name, buf_cstr(&problem));
		buf_done(&problem);
		if (err)
			return err;
	}
	return 0;
}

static int open_lists(struct router *r, struct buf *why)
{
	const struct params *p = r->params;
	const struct {
		enum router_list which;
		const char *name;
		struct str text;
		enum match_kind kind;
	} all[] = {
		{LIST_MYDESTINATION, "mydestination", p->mydestination, MATCH_DOMAIN},
		{LIST_VIRTUAL_ALIAS, "virtual_alias_domains", p->virtual_alias_domains, MATCH_DOMAIN},
		{LIST_VIRTUAL_MAILBOX, "virtual_mailbox_domains", p->virtual_mailbox_domains, MATCH_DOMAIN},
		{LIST_RELAY, "relay_domains", p->relay_domains, MATCH_DOMAIN},
		{LIST_MASQUERADE_EXCEPTIONS, "masquerade_exceptions", p->masquerade_exceptions, MATCH_USER},
	};

	for (size_t i = 0; i < COUNT_OF(all); i++) {
		struct buf problem = BUF_INIT(1 << 20);
		bool wants_parents = str_list_has(p->parent_domain_matches_subdomains, str_of(all[i].name));
		int err = match_list_open(all[i].text, all[i].kind, TABLE_SURROGATE | (wants_parents ? MATCH_PARENTS : 0),
		                          r->view, &r->lists[all[i].which], &problem);

		if (err)
			buf_addf(why, "%s%s: %s", why->len > 0 ? "\n" : "", all[i].name, buf_cstr(&problem));
		buf_done(&problem);
		if (err)
			return err;
	}
	return 0;
}

static void add_own(struct ip_set *set, const struct ip_key *ip)
{
	struct ip_net net = {*ip, ip->is_v6 ? 128 : 32};

	ip_set_add(set, &net, 0);
}

static void add_loopback(struct ip_set *set)
{
	add_own(set, &(struct ip_key){.low = 0x7f000001});
	add_own(set, &(struct ip_key){.low = 1, .is_v6 = true});
}

static void add_every_interface(struct ip_set *set)
{
	struct ifaddrs *all, *at;

	if (getifaddrs(&all) != 0)
		return;
	for (at = all; at; at = at->ifa_next) {
		char text[INET6_ADDRSTRLEN];
		const void *bytes;
		struct ip_key ip;

		if (!at->ifa_addr || (at->ifa_addr->sa_family != AF_INET && at->ifa_addr->sa_family != AF_INET6))
			continue;
		bytes = at->ifa_addr->sa_family == AF_INET
		                ? (const void *)&((struct sockaddr_in *)(void *)at->ifa_addr)->sin_addr
		                : (const void *)&((struct sockaddr_in6 *)(void *)at->ifa_addr)->sin6_addr;
		if (inet_ntop(at->ifa_addr->sa_family, bytes, text, sizeof(text)) && ip_key_parse(str_of(text), &ip))
			add_own(set, &ip);
	}
	freeifaddrs(all);
}

/* The addresses that count as local when they stand in [brackets]. */
static void find_own_addresses(struct router *r)
{
	struct str lists[2] = {r->params->inet_interfaces, r->params->proxy_interfaces}, item;
	struct ip_key ip;

	r->own_addresses = ip_set_new();
	for (size_t i = 0; i < COUNT_OF(lists); i++) {
		while (str_next(&lists[i], ", \t\r\n", &item)) {
			if (item.len > 2 && item.ptr[0] == '[')
				item = str_cut(item, 1, item.len - 2);
			if (str_eq_nocase(item, STR("all")))
				add_every_interface(r->own_addresses);
			else if (str_eq_nocase(item, STR("loopback-only")) || str_eq_nocase(item, STR("localhost")))
				add_loopback(r->own_addresses);
			else if (ip_key_parse(item, &ip))
				add_own(r->own_addresses, &ip);
		}
	}
	ip_set_build(r->own_addresses);
}

int router_new(const struct view *v, struct router **ret_router, struct buf *why)
{
	struct router *r = mem_alloc(sizeof(*r));
	const struct params *p = v->params;
	int err;

	r->view = v;
	r->params = p;
	err = open_maps(r, why);
	if (!err)
		err = open_lists(r, why);
	if (!err)
		err = read_sides(r, why);
	if (err) {
		router_free(r);
		return err;
	}
	find_own_addresses(r);
	r->propagates_canonical = str_list_has(p->propagate_unmatched_extensions, STR("canonical"));
	r->propagates_virtual = str_list_has(p->propagate_unmatched_extensions, STR("virtual"));
	r->transport_wants_parents = str_list_has(p->parent_domain_matches_subdomains, STR("transport_maps"));
	*ret_router = r;
	return 0;
}

void router_free(struct router *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < MAP_COUNT; i++)
		maps_close(r->maps[i]);
	for (size_t i = 0; i < LIST_COUNT; i++)
		match_list_close(r->lists[i]);
	ip_set_free(r->own_addresses);
	free(r);
}

bool router_has_changed(const struct router *r)
{
	for (size_t i = 0; i < MAP_COUNT; i++)
		if (maps_have_changed(r->maps[i]))
			return true;
	for (size_t i = 0; i < LIST_COUNT; i++)
		if (match_list_has_changed(r->lists[i]))
			return true;
	return false;
}

/* "[192.0.2.1]" or "[IPv6:2001:db8::1]". */
static bool is_own_literal(const struct router *r, struct str domain)
{
	struct ip_key ip;

	if (domain.len < 3 || domain.ptr[0] != '[' || domain.ptr[domain.len - 1] != ']')
		return false;
	domain = str_cut(domain, 1, domain.len - 2);
	if (str_starts_nocase(domain, STR("IPv6:")))
		domain = str_from(domain, 5);
	return ip_key_parse(domain, &ip) && ip_set_find(r->own_addresses, &ip) >= 0;
}

int router_is_local(struct router *r, struct str domain, struct buf *why)
{
	int result = match_list_check(r->lists[LIST_MYDESTINATION], domain, why);

	return result ? result : is_own_literal(r, domain);
}

int router_class(struct router *r, struct str domain, enum address_class *ret_class, struct buf *why)
{
	static const struct {
		enum router_list list;
		enum address_class class;
	} order[] = {
		{LIST_VIRTUAL_ALIAS, CLASS_VIRTUAL_ALIAS},
		{LIST_VIRTUAL_MAILBOX, CLASS_VIRTUAL_MAILBOX},
		{LIST_RELAY, CLASS_RELAY},
	};
	int result = router_is_local(r, domain, why);

	if (result < 0)
		return -EAGAIN;
	*ret_class = CLASS_LOCAL;
	for (size_t i = 0; !result && i < COUNT_OF(order); i++) {
		result = match_list_check(r->lists[order[i].list], domain, why);
		if (result < 0)
			return -EAGAIN;
		*ret_class = order[i].class;
	}
	if (!result)
		*ret_class = CLASS_DEFAULT;
	return 0;
}

bool route_is_authorized(const struct route *route)
{
	return route->class != CLASS_DEFAULT && !route->is_routed;
}
