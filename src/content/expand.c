/* SPDX-License-Identifier: Apache-2.0 */
/* From the envelope that a client gave to the one that is stored: mappings, copies, aliases, each recipient once. */
#include <errno.h>

#include "base/map.h"
#include "config/config.h"
#include "config/params.h"
#include "content/content_internal.h"
#include "mail/address.h"
#include "policy/policy.h"
#include "route/resolve.h"

/* The recipients that come out. */
struct outcome {
	struct draft *d;
	struct recipient *all;
	size_t count, size;
	struct map seen;
};

static void add(struct outcome *o, struct recipient r)
{
	struct draft *d = o->d;
	int64_t limit = d->content->view->params->duplicate_filter_limit;
	char usual[256];
	struct buf key;

	buf_init_on(&key, usual, sizeof(usual), sizeof(usual) + r.address.len + r.original.len + r.orcpt.len);
	if (r.original.len > 0 && (str_eq(r.original, r.address) || !d->content->view->params->enable_original_recipient))
		r.original = STR("");
	if (limit <= 0 || (int64_t)map_count(&o->seen) < limit) {
		buf_addf(&key, "%.*s\n%.*s\n%u\n%.*s", STR_ARG(arena_lower(d->facts.arena, r.address)), STR_ARG(r.original),
		         r.notify, STR_ARG(r.orcpt));
		if (map_find(&o->seen, buf_str(&key))) {
			buf_done(&key);
			return;
		}
		(void)map_set(&o->seen, buf_str(&key), o);
	}
	buf_done(&key);
	if (o->count == o->size) {
		struct recipient *all = arena_alloc(d->facts.arena, (2 * o->size + 4) * sizeof(*all));

		if (o->count > 0)
			memcpy(all, o->all, o->count * sizeof(*all));
		o->all = all;
		o->size = 2 * o->size + 4;
	}
	o->all[o->count++] = r;
}

/* One recipient, its virtual aliases followed. */
static void add_expanded(struct outcome *o, struct recipient r)
{
	struct draft *d = o->d;
	struct str *addresses;
	size_t count;
	struct buf why = BUF_INIT(500);
	int err;

	if (r.original.len == 0)
		r.original = r.address;
	if (d->facts.overrides & CONTENT_NO_ADDRESS_MAPPINGS) {
		add(o, r);
		return;
	}
	err = router_expand_virtual(d->content->router, r.address, d->facts.arena, &addresses, &count, &why);
	if (err == -E2BIG) {
		draft_note(d, LOG_LEVEL_WARN,
		           "%s: unreasonable virtual_alias_maps map expansion size or nesting for %.*s -- message not accepted, "
		           "try again later",
		           d->facts.envelope->queue_id, STR_ARG(r.address));
		draft_fail(d, 451, DSN(4, 3, 0), "Error: queue file write error");
	} else if (err) {
		draft_fail_lookup(d, "virtual_alias_maps", r.address);
	} else {
		for (size_t i = 0; i < count; i++) {
			r.address = addresses[i];
			add(o, r);
		}
	}
	buf_done(&why);
}

static void add_copy(struct outcome *o, struct str address)
{
	struct draft *d = o->d;

	if (address.len == 0)
		return;
	address = router_rewrite(d->content->router, address, d->content->view->params->myorigin, d->facts.arena);
	add_expanded(o, (struct recipient){.address = address, .notify = NOTIFY_NEVER});
}

/* What sender_bcc_maps or recipient_bcc_maps say for an address: whole, without its extension, its domain. */
static void add_mapped_copy(struct outcome *o, struct maps *m, const char *what, struct str address)
{
	struct draft *d = o->d;
	struct arena *a = d->facts.arena;
	struct str local, domain, keys[4], value, delimiters = d->content->view->params->recipient_delimiter;
	struct buf why = BUF_INIT(500);
	size_t count = 0, cut;
	int err = -ENOENT;

	if (maps_is_empty(m) || address.len == 0)
		return;
	address_split(address, &local, &domain);
	cut = delimiters.len > 0 ? str_find_any(local, arena_cstr(a, delimiters)) : local.len;
	keys[count++] = address;
	if (cut > 0 && cut < local.len)
		keys[count++] = arena_printf(a, "%.*s@%.*s", (int)cut, local.ptr, STR_ARG(domain));
	if (str_eq_nocase(domain, d->content->view->params->myorigin))
		keys[count++] = local;
	keys[count++] = arena_printf(a, "@%.*s", STR_ARG(domain));
	for (size_t i = 0; i < count && err == -ENOENT; i++)
		err = maps_find(m, keys[i], i > 0, a, &value, &why);
	if (err == 0)
		add_copy(o, str_trim(value));
	else if (err != -ENOENT)
		draft_fail_lookup(d, what, address);
	buf_done(&why);
}

static void add_copies(struct outcome *o)
{
	struct draft *d = o->d;
	const struct content *c = d->content;
	struct envelope *e = d->facts.envelope;

	if ((d->facts.overrides & CONTENT_NO_ADDRESS_MAPPINGS) || (e->flags & ENVELOPE_INTERNAL))
		return;
	add_copy(o, c->view->params->always_bcc);
	add_mapped_copy(o, c->sender_bcc, "sender_bcc_maps", e->sender);
	for (uint32_t i = 0; i < e->recipient_count && !maps_is_empty(c->recipient_bcc); i++)
		add_mapped_copy(o, c->recipient_bcc, "recipient_bcc_maps", e->recipients[i].address);
}

/* REDIRECT, BCC and HOLD that access tables asked for. */
static void apply_action(struct outcome *o, const struct policy_action *act)
{
	struct envelope *e = o->d->facts.envelope;

	if (!act)
		return;
	if (act->is_held)
		e->flags |= ENVELOPE_HOLD;
	for (size_t i = 0; i < act->bcc_count; i++)
		add_copy(o, act->bccs[i]);
	if (act->redirect.len > 0) {
		e->recipients[0] = (struct recipient){.address = act->redirect, .original = e->recipients[0].address};
		e->recipient_count = e->recipient_count ? 1 : 0;
	}
}

void expand_envelope(struct draft *d)
{
	struct envelope *e = d->facts.envelope;
	struct outcome o = {.d = d};

	apply_action(&o, d->facts.action);
	for (uint32_t i = 0; i < e->recipient_count && !d->failure.code; i++) {
		struct recipient *r = &e->recipients[i];

		if (r->original.len == 0)
			r->original = r->address;
		if (rewrite_address(d, r->address, SIDE_ENVELOPE_RECIPIENT, &r->address))
			break;
	}
	for (uint32_t i = 0; i < e->recipient_count && !d->failure.code; i++)
		add_expanded(&o, e->recipients[i]);
	if (!d->failure.code)
		add_copies(&o);
	map_done(&o.seen);
	if (!d->failure.code && o.count == 0)
		draft_fail(d, 550, DSN(5, 1, 0), "Error: no recipients specified");
	e->recipients = o.all;
	e->recipient_count = (uint32_t)o.count;
}
