/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a recipient to transport and nexthop:
 *
 * 1. While the domain is ours, operators in the local part (user%other, other!user, user@other) are
 *    followed. What is left of them afterwards makes the address "routed": never relayed for strangers.
 * 2. The class of the domain gives transport and nexthop.
 * 3. transport_maps override them, but not those of virtual alias domains.
 * 4. relocated_maps turn the recipient into an error.
 */
#include <errno.h>

#include "mail/address.h"
#include "route/router_internal.h"
#include "table/ip_set.h"

enum { OPERATORS_MAX = 100 };

/* One resolution on its way. */
struct resolution {
	struct router *r;
	struct arena *a;
	struct buf *why;
	struct str sender;
	struct route *route;
	struct str domain;
};

/* "transport:nexthop"; a part that is missing stays empty. */
static void split_transport(struct str text, struct str *ret_transport, struct str *ret_nexthop)
{
	text = str_trim(text);
	*ret_nexthop = (struct str){NULL, 0};
	if (str_split(text, ':', ret_transport, ret_nexthop))
		*ret_nexthop = str_trim(*ret_nexthop);
	else
		*ret_transport = text;
}

static void set_error(struct route *route, struct str text)
{
	route->transport = STR("error");
	route->nexthop = text;
	route->is_error = true;
}

static bool is_hostname(struct str domain)
{
	size_t label = 0;

	if (domain.len == 0 || domain.len > 255 || domain.ptr[domain.len - 1] == '-')
		return false;
	for (size_t i = 0; i < domain.len; i++) {
		char c = domain.ptr[i];

		if (c == '.') {
			if (label == 0 || label > 63)
				return false;
			label = 0;
			continue;
		}
		if (!ascii_is_alnum(c) && c != '-' && c != '_' && (unsigned char)c < 128)
			return false;
		if (c == '-' && label == 0)
			return false;
		label++;
	}
	return label > 0 && label <= 63;
}

static bool is_numeric(struct str domain)
{
	struct ip_key ip;

	for (size_t i = 0; i < domain.len; i++)
		if (!ascii_is_digit(domain.ptr[i]) && domain.ptr[i] != '.')
			return false;
	return domain.len > 0 && (ip_key_parse(domain, &ip) || !str_has(domain, '.'));
}

static bool is_literal(struct str domain)
{
	struct ip_key ip;

	if (domain.len < 3 || domain.ptr[0] != '[' || domain.ptr[domain.len - 1] != ']')
		return false;
	domain = str_cut(domain, 1, domain.len - 2);
	if (str_starts_nocase(domain, STR("IPv6:")))
		domain = str_from(domain, 5);
	return ip_key_parse(domain, &ip);
}

/* Is there an operator that a local part may route with? */
static bool has_operator(const struct params *p, struct str local)
{
	return (p->resolve_dequoted_address && str_has(local, '@')) || (p->swap_bangpath && str_has(local, '!')) ||
	       (p->allow_percent_hack && str_has(local, '%'));
}

/* Step 1. 0 or -EAGAIN; the address and its domain are left in the route and in *s. */
static int follow_operators(struct resolution *s)
{
	const struct params *p = s->r->params;
	struct str address = s->route->recipient, local;

	for (unsigned i = 0; i < OPERATORS_MAX; i++) {
		int is_local;

		if (p->resolve_null_domain && address.len > 1 && address.ptr[address.len - 1] == '@')
			address.len--;
		if (!address_split(address, &local, &s->domain)) {
			address = arena_printf(s->a, "%.*s@%.*s", STR_ARG(address), STR_ARG(p->myhostname));
			(void)address_split(address, &local, &s->domain);
		}
		if (s->domain.len > 1 && s->domain.ptr[s->domain.len - 1] == '.') {
			s->domain.len--;
			address.len--;
		}
		s->route->recipient = address;
		is_local = router_is_local(s->r, s->domain, s->why);
		if (is_local < 0)
			return -EAGAIN;
		if (!is_local || !has_operator(p, local))
			break;
		/* The operators speak for themselves once the domain is gone. */
		address = router_rewrite(s->r, local, p->myorigin, s->a);
		if (str_eq(address, s->route->recipient))
			break;
	}
	if (local.len == 0) {
		s->route->recipient = arena_printf(s->a, "%.*s@%.*s", STR_ARG(p->empty_address_recipient), STR_ARG(s->domain));
		local = p->empty_address_recipient;
	}
	s->route->is_routed = str_find_any(local, "@!%") < local.len;
	return 0;
}

/* False when the address cannot be meant; the route then says why. */
static bool check_syntax(struct resolution *s)
{
	const struct params *p = s->r->params;

	if (!p->allow_min_user && s->route->recipient.ptr[0] == '-')
		set_error(s->route, STR("5.1.3 Bad recipient address syntax"));
	else if (is_literal(s->domain))
		return true;
	else if (is_numeric(s->domain) && p->resolve_numeric_domain)
		return true;
	else if (is_numeric(s->domain) || !is_hostname(s->domain))
		set_error(s->route, STR("5.1.3 bad address syntax"));
	else
		return true;
	return false;
}

static bool is_dunno(struct str value)
{
	return str_eq_nocase(value, STR("DUNNO"));
}

/* A sender-dependent map; -ENOENT for nothing or DUNNO. */
static int ask_sender(struct resolution *s, enum router_map which, struct str empty_key, struct str *ret_value)
{
	struct maps *m = s->r->maps[which];
	struct address_match match;
	int err;

	if (maps_is_empty(m))
		return -ENOENT;
	if (s->sender.len == 0)
		err = as_temporary(maps_find(m, empty_key, false, s->a, &match.value, s->why));
	else
		err = router_find_address(s->r, m, s->sender, s->a, &match, s->why);
	if (err == 0 && is_dunno(match.value))
		return -ENOENT;
	if (!err)
		*ret_value = match.value;
	return err;
}

static int choose_relayhost(struct resolution *s)
{
	const struct params *p = s->r->params;
	struct str relayhost = p->relayhost;
	int err = ask_sender(s, MAP_SENDER_RELAYHOST, p->empty_address_relayhost_maps_lookup_key, &relayhost);

	if (err && err != -ENOENT)
		return err;
	if (relayhost.len > 0)
		s->route->nexthop = relayhost;
	return 0;
}

/* Step 2. */
static int choose_by_class(struct resolution *s)
{
	const struct params *p = s->r->params;
	struct route *route = s->route;
	struct str text = p->default_transport;
	int err = router_class(s->r, s->domain, &route->class, s->why);

	if (err)
		return err;
	switch (route->class) {
	case CLASS_LOCAL:
		text = p->local_transport;
		break;
	case CLASS_VIRTUAL_ALIAS:
		text = STR("error:5.1.1 User unknown in virtual alias table");
		break;
	case CLASS_VIRTUAL_MAILBOX:
		text = p->virtual_transport;
		break;
	case CLASS_RELAY:
		text = p->relay_transport;
		break;
	case CLASS_DEFAULT:
		err = ask_sender(s, MAP_SENDER_TRANSPORT, p->empty_address_default_transport_maps_lookup_key, &text);
		if (err && err != -ENOENT)
			return err;
		break;
	}
	split_transport(text, &route->transport, &route->nexthop);
	if (route->nexthop.len > 0)
		return 0;
	route->nexthop = arena_lower(s->a, s->domain);
	if (is_numeric(s->domain))
		route->nexthop = arena_printf(s->a, "[%.*s]", STR_ARG(s->domain));
	return route->class == CLASS_RELAY || route->class == CLASS_DEFAULT ? choose_relayhost(s) : 0;
}

/* The whole address, without extension, the domain, its parents, "*". */
static int ask_transport(struct resolution *s, struct str *ret_value)
{
	struct router *r = s->r;
	struct maps *m = r->maps[MAP_TRANSPORT];
	struct str name, user, extension, local, domain;
	int err = maps_find(m, address_external(s->a, s->route->recipient), false, s->a, ret_value, s->why);

	if (err == -ENOENT && address_split(s->route->recipient, &local, &domain) &&
	    split_extension(local, r->params->recipient_delimiter, r->params->owner_request_special, &user, &extension))
		err = maps_find(m, address_external(s->a, arena_printf(s->a, "%.*s@%.*s", STR_ARG(user), STR_ARG(domain))), true,
		                s->a, ret_value, s->why);
	for (name = s->domain; err == -ENOENT && name.len > 0;) {
		size_t dot;

		err = maps_find(m, name, true, s->a, ret_value, s->why);
		dot = str_find(str_from(name, 1), '.') + 1;
		name = str_from(name, r->transport_wants_parents ? dot + 1 : dot);
	}
	if (err == -ENOENT)
		err = maps_find(m, STR("*"), true, s->a, ret_value, s->why);
	return as_temporary(err);
}

/* Step 3. */
static int apply_transport_maps(struct resolution *s)
{
	struct route *route = s->route;
	struct str value, transport, nexthop;
	int err;

	if (maps_is_empty(s->r->maps[MAP_TRANSPORT]) || route->class == CLASS_VIRTUAL_ALIAS)
		return 0;
	err = ask_transport(s, &value);
	if (err)
		return err == -ENOENT ? 0 : err;
	split_transport(value, &transport, &nexthop);
	if (transport.len > 0) {
		route->transport = transport;
		route->nexthop = arena_lower(s->a, s->domain);
	}
	if (nexthop.len > 0)
		route->nexthop = nexthop;
	return 0;
}

/* Step 4. */
static int apply_relocated(struct resolution *s)
{
	struct address_match match;
	struct str text;
	int err = router_find_address(s->r, s->r->maps[MAP_RELOCATED], s->route->recipient, s->a, &match, s->why);

	if (err)
		return err == -ENOENT ? 0 : err;
	text = match.value;
	if (s->r->params->relocated_prefix_enable)
		text = arena_printf(s->a, "5.1.6 User has moved to %.*s", STR_ARG(text));
	set_error(s->route, text);
	return 0;
}

int router_resolve(struct router *r, struct str sender, struct str recipient, struct arena *a, struct route *ret_route,
                   struct buf *why)
{
	struct route route = {.recipient = recipient};
	struct resolution s = {.r = r, .a = a, .why = why, .sender = sender, .route = &route};
	int err = follow_operators(&s);

	if (!err)
		err = choose_by_class(&s);
	if (!err && check_syntax(&s)) {
		err = apply_transport_maps(&s);
		if (!err)
			err = apply_relocated(&s);
		if (!err && route.class != CLASS_VIRTUAL_ALIAS && str_eq(route.transport, STR("error")))
			route.is_error = true;
	}
	if (err)
		return err;
	*ret_route = route;
	return 0;
}
