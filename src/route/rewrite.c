/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses to standard form: user@fully.qualified.domain. */
#include "mail/address.h"
#include "route/router_internal.h"

/* "@a,@b:user@c" is user@c; other addresses stay. */
static struct str without_route(struct str address)
{
	size_t colon = address.len > 0 && address.ptr[0] == '@' ? str_find(address, ':') : address.len;

	return colon < address.len ? str_from(address, colon + 1) : address;
}

static struct str swap_bang(struct str address, struct arena *a)
{
	struct str site, user;

	if (!str_split(address, '!', &site, &user) || site.len == 0 || user.len == 0)
		return address;
	return arena_printf(a, "%.*s@%.*s", STR_ARG(user), STR_ARG(site));
}

static struct str swap_percent(struct str address, struct arena *a)
{
	size_t at = str_find_last(address, '%');

	if (at == 0 || at + 1 >= address.len)
		return address;
	return arena_printf(a, "%.*s@%.*s", STR_ARG(str_cut(address, 0, at)), STR_ARG(str_from(address, at + 1)));
}

struct str router_rewrite(struct router *r, struct str address, struct str origin, struct arena *a)
{
	const struct params *p = r->params;
	struct str local, domain;

	if (address.len == 0)
		return address;
	address = without_route(address);
	if (p->swap_bangpath && !str_has(address, '@'))
		address = swap_bang(address, a);
	if (p->allow_percent_hack && !str_has(address, '@'))
		address = swap_percent(address, a);
	if (!address_split(address, &local, &domain)) {
		if (!p->append_at_myorigin || origin.len == 0)
			return address;
		address = arena_printf(a, "%.*s@%.*s", STR_ARG(address), STR_ARG(origin));
		(void)address_split(address, &local, &domain);
	}
	if (p->append_dot_mydomain && domain.len > 0 && domain.ptr[0] != '[' && !str_has(domain, '.') &&
	    str_eq_nocase(origin, p->myorigin))
		return arena_printf(a, "%.*s.%.*s", STR_ARG(address), STR_ARG(p->mydomain));
	if (domain.len > 1 && domain.ptr[domain.len - 1] == '.' && domain.ptr[domain.len - 2] != '.')
		address.len--;
	return address;
}
