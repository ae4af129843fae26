/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses in headers and envelope: standard form, canonical tables, masquerading. */
#include <errno.h>

#include "config/config.h"
#include "config/params.h"
#include "content/content_internal.h"
#include "mail/address.h"
#include "mail/address_list.h"
#include "route/resolve.h"

/* host.example.com becomes example.com when masquerade_domains names it; "!" in front keeps one as it is. */
static struct str masquerade_domain(const struct content *c, struct str domain)
{
	for (size_t i = 0; i < c->masquerade_count; i++) {
		struct str entry = c->masquerade_domains[i];
		bool is_kept = entry.len > 0 && entry.ptr[0] == '!';
		struct str parent = is_kept ? str_from(entry, 1) : entry;
		bool is_same = str_eq_nocase(domain, parent);

		if (!is_same && !(domain.len > parent.len && str_ends_nocase(domain, parent) &&
		                  domain.ptr[domain.len - parent.len - 1] == '.'))
			continue;
		return is_kept || is_same ? domain : parent;
	}
	return domain;
}

static int masquerade(struct draft *d, struct str address, enum address_side use, struct str *ret_address)
{
	const struct content *c = d->content;
	struct str local, domain, parent;
	struct buf why = BUF_INIT(500);
	int is_exempt = 0;

	*ret_address = address;
	if (c->masquerade_count == 0 || !(c->masquerade_classes & use) || !address_split(address, &local, &domain))
		return 0;
	if (c->masquerade_exceptions)
		is_exempt = match_list_check(c->masquerade_exceptions, local, &why);
	buf_done(&why);
	if (is_exempt < 0) {
		draft_fail_lookup(d, "masquerade_exceptions", address);
		return -EAGAIN;
	}
	parent = masquerade_domain(c, domain);
	if (!is_exempt && parent.ptr != domain.ptr)
		*ret_address = arena_printf(d->facts.arena, "%.*s@%.*s", STR_ARG(local), STR_ARG(parent));
	return 0;
}

int rewrite_address(struct draft *d, struct str address, enum address_side use, struct str *ret_address)
{
	const struct content *c = d->content;
	bool is_header = use & (SIDE_HEADER_SENDER | SIDE_HEADER_RECIPIENT);
	struct buf why = BUF_INIT(500);
	int err;

	*ret_address = address;
	if (address.len == 0)
		return 0;
	if (is_header || d->facts.is_submitted)
		address = router_rewrite(c->router, address, c->view->params->myorigin, d->facts.arena);
	*ret_address = address;
	if (d->facts.overrides & CONTENT_NO_ADDRESS_MAPPINGS)
		return 0;
	err = router_canonical(c->router, address, use, d->facts.arena, &address, &why);
	if (err)
		draft_fail_lookup(d, "canonical", address);
	buf_done(&why);
	if (!err)
		err = masquerade(d, address, use, ret_address);
	return err;
}

bool rewrite_header(struct draft *d, struct str value, enum address_side use, struct buf *to)
{
	struct address_list l = {.text = value};
	struct str spec, address, now;
	size_t copied = 0;

	while (!d->failure.code && address_list_next(&l, &spec)) {
		size_t at = (size_t)(spec.ptr - value.ptr);

		if (address_parse(spec, ADDRESS_UTF8, d->facts.arena, &address) || rewrite_address(d, address, use, &now))
			continue;
		now = address_external(d->facts.arena, now);
		if (str_eq(spec, now))
			continue;
		buf_add(to, str_cut(value, copied, at - copied));
		buf_add(to, now);
		copied = at + spec.len;
	}
	if (copied > 0)
		buf_add(to, str_from(value, copied));
	if (buf_check(to))
		draft_fail(d, 552, DSN(5, 3, 4), "Error: message headers too long");
	return copied > 0;
}
