/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses in headers and envelope: standard form, canonical tables, masquerading. */
#include "config/config.h"
#include "config/params.h"
#include "content/content_internal.h"
#include "mail/address.h"
#include "mail/address_list.h"
#include "route/resolve.h"

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
	err = router_canonical(c->router, address, use, d->facts.arena, ret_address, &why);
	if (err)
		draft_fail_lookup(d, "canonical or masquerade_exceptions", address);
	buf_done(&why);
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
