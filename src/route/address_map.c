/* SPDX-License-Identifier: Apache-2.0 */
/* The search of tables that map addresses, and what is made of their results. */
#include <errno.h>

#include "mail/address.h"
#include "route/router_internal.h"

/* user-ext, but not owner-list or list-request, and never mailer-daemon. */
static bool is_never_split(struct str local, char delimiter, bool is_owner_special)
{
	if (str_eq_nocase(local, STR("mailer-daemon")) || str_eq_nocase(local, STR("double-bounce")))
		return true;
	return is_owner_special && delimiter == '-' &&
	       (str_starts_nocase(local, STR("owner-")) || str_ends_nocase(local, STR("-request")));
}

bool split_extension(struct str local, struct str delimiters, bool is_owner_special, struct str *ret_user,
                     struct str *ret_extension)
{
	/* A delimiter at the front would leave no user. */
	for (size_t i = 1; i < local.len; i++) {
		if (!str_has(delimiters, local.ptr[i]))
			continue;
		if (is_never_split(local, local.ptr[i], is_owner_special))
			return false;
		*ret_user = str_cut(local, 0, i);
		*ret_extension = str_from(local, i + 1);
		return true;
	}
	return false;
}

/* What one search needs on its way. */
struct search {
	struct router *r;
	struct maps *m;
	struct arena *a;
	struct buf *why;
	struct str *ret_value;
};

static int ask(const struct search *s, struct str local, struct str domain, bool is_partial)
{
	struct buf key = BUF_INIT(4096);
	int err;

	address_format(&key, domain.ptr ? arena_printf(s->a, "%.*s@%.*s", STR_ARG(local), STR_ARG(domain)) : local);
	err = maps_find(s->m, buf_str(&key), is_partial, s->a, s->ret_value, s->why);
	buf_done(&key);
	return err;
}

/* Also the internal form where it differs: "a b"@c as a b@c. */
static int ask_internal(const struct search *s, struct str address)
{
	struct buf key = BUF_INIT(4096);
	bool is_same;

	address_format(&key, address);
	is_same = str_eq(buf_str(&key), address);
	buf_done(&key);
	return is_same ? -ENOENT : maps_find(s->m, address, false, s->a, s->ret_value, s->why);
}

/* Bare user names count where the domain is ours. 1, 0, <0. */
static int has_bare_names(struct router *r, struct str domain, struct buf *why)
{
	return str_eq_nocase(domain, r->params->myorigin) ? 1 : router_is_local(r, domain, why);
}

static int find(const struct search *s, struct str address, struct str *ret_extension)
{
	struct str local, domain, user = {NULL, 0}, extension = {NULL, 0};
	const struct params *p = s->r->params;
	bool is_split;
	int err = ask(s, address, (struct str){NULL, 0}, false);

	if (err == -ENOENT)
		err = ask_internal(s, address);
	if (err != -ENOENT)
		return err;
	if (!address_split(address, &local, &domain))
		return -ENOENT;
	is_split = split_extension(local, p->recipient_delimiter, p->owner_request_special, &user, &extension);
	if (is_split) {
		err = ask(s, user, domain, true);
		if (err != -ENOENT)
			goto found_user;
	}
	err = has_bare_names(s->r, domain, s->why);
	if (err < 0)
		return err;
	if (err > 0) {
		err = ask(s, local, (struct str){NULL, 0}, true);
		if (err != -ENOENT)
			return err;
		err = is_split ? ask(s, user, (struct str){NULL, 0}, true) : -ENOENT;
		if (err != -ENOENT)
			goto found_user;
	}
	return maps_find(s->m, arena_printf(s->a, "@%.*s", STR_ARG(domain)), true, s->a, s->ret_value, s->why);

found_user:
	*ret_extension = str_from(local, user.len);
	return err;
}

int router_find_address(struct router *r, struct maps *m, struct str address, struct arena *a, struct address_match *ret_match,
                        struct buf *why)
{
	struct address_match match = {0};
	struct search s = {r, m, a, why, &match.value};
	int err;

	if (maps_is_empty(m) || address.len == 0)
		return -ENOENT;
	err = find(&s, address, &match.extension);
	if (!err)
		*ret_match = match;
	return as_temporary(err);
}

/* Takes one address in external form off the front: quoted strings, <...> and (comments) are understood. */
static struct str take_item(struct str *rest, struct buf *item)
{
	bool is_quoted = false;
	unsigned depth = 0;
	size_t i;

	for (i = 0; i < rest->len; i++) {
		char c = rest->ptr[i];

		if (!is_quoted && depth == 0 && (c == ',' || c == ';' || ascii_is_space(c)))
			break;
		if (c == '"' && depth == 0)
			is_quoted = !is_quoted;
		if (!is_quoted && c == '(')
			depth++;
		if (depth == 0 && (is_quoted || (c != '<' && c != '>')))
			buf_add_char(item, c);
		if (!is_quoted && c == ')' && depth > 0)
			depth--;
		if (c == '\\' && i + 1 < rest->len && depth == 0)
			buf_add_char(item, rest->ptr[++i]);
	}
	*rest = str_from(*rest, i);
	return buf_str(item);
}

/* To internal form; what is no valid address is taken as it is, for the resolver to judge. */
static struct str to_internal(struct str external, struct arena *a)
{
	struct str internal;

	if (address_parse(external, ADDRESS_UTF8, a, &internal) == 0)
		return internal;
	return arena_str(a, external);
}

bool route_next_address(struct str *rest, struct arena *a, struct str *ret_address)
{
	struct buf item = BUF_INIT(64 << 10);
	bool is_found = false;

	while (!is_found && rest->len > 0) {
		struct str text;

		while (rest->len > 0 && (rest->ptr[0] == ',' || rest->ptr[0] == ';' || ascii_is_space(rest->ptr[0])))
			*rest = str_from(*rest, 1);
		buf_reset(&item);
		text = take_item(rest, &item);
		if (text.len == 0)
			continue;
		*ret_address = to_internal(text, a);
		is_found = true;
	}
	buf_done(&item);
	return is_found;
}

/* One result of a map applied to `address`: "@other" keeps the local part, an extension is put in front of the @. */
static struct str apply_result(struct router *r, struct str result, struct str address, struct str extension, struct arena *a)
{
	struct str local, domain, own_local, own_domain;

	if (result.len > 1 && result.ptr[0] == '@') {
		(void)address_split(address, &own_local, &own_domain);
		return arena_printf(a, "%.*s%.*s", STR_ARG(own_local), STR_ARG(result));
	}
	if (extension.len > 0) {
		if (address_split(result, &local, &domain))
			result = arena_printf(a, "%.*s%.*s@%.*s", STR_ARG(local), STR_ARG(extension), STR_ARG(domain));
		else
			result = arena_printf(a, "%.*s%.*s", STR_ARG(result), STR_ARG(extension));
	}
	return router_rewrite(r, result, r->params->myorigin, a);
}

/* A table that gives one address in standard form, which gets the extension of the address looked up if `propagates`. */
struct address_table {
	struct maps *maps;
	bool propagates;
};

static int map_address(struct router *r, struct address_table t, struct str address, struct arena *a, struct str *ret_address,
                       struct buf *why)
{
	struct address_match match;
	struct str result;
	int err = router_find_address(r, t.maps, address, a, &match, why);

	if (err)
		return err;
	if (!route_next_address(&match.value, a, &result))
		return -ENOENT;
	*ret_address = apply_result(r, result, address, t.propagates ? match.extension : (struct str){NULL, 0}, a);
	return 0;
}

/* The domain that masquerade_domains makes of this one; "!" in front of one there keeps its hosts as they are. */
static struct str masquerade_domain(struct router *r, struct str domain)
{
	struct str rest = r->params->masquerade_domains, item;

	while (str_next(&rest, ", \t\r\n", &item)) {
		bool is_negated = item.ptr[0] == '!';

		item = str_from(item, is_negated);
		if (str_eq_nocase(domain, item))
			return domain;
		if (domain.len <= item.len || !str_ends_nocase(domain, item) || domain.ptr[domain.len - item.len - 1] != '.')
			continue;
		return is_negated ? domain : item;
	}
	return domain;
}

static int masquerade(struct router *r, struct str address, struct arena *a, struct str *ret_address, struct buf *why)
{
	struct str local, domain, parent;
	int is_excepted;

	if (r->params->masquerade_domains.len && address_split(address, &local, &domain)) {
		is_excepted = match_list_check(r->lists[LIST_MASQUERADE_EXCEPTIONS], local, why);
		if (is_excepted < 0)
			return as_temporary(is_excepted);
		parent = masquerade_domain(r, domain);
		if (!is_excepted && parent.ptr != domain.ptr)
			address = arena_printf(a, "%.*s@%.*s", STR_ARG(local), STR_ARG(parent));
	}
	*ret_address = address;
	return 0;
}

int router_canonical(struct router *r, struct str address, enum address_side side, struct arena *a, struct str *ret_address,
                     struct buf *why)
{
	bool is_sender = side & (SIDE_ENVELOPE_SENDER | SIDE_HEADER_SENDER);
	const struct {
		unsigned sides;
		enum router_map map;
	} steps[] = {
		{is_sender ? r->sender_canonical_sides : r->recipient_canonical_sides,
	         is_sender ? MAP_SENDER_CANONICAL : MAP_RECIPIENT_CANONICAL},
		{r->canonical_sides, MAP_CANONICAL},
	};

	for (size_t i = 0; i < COUNT_OF(steps); i++) {
		struct address_table t = {r->maps[steps[i].map], r->propagates_canonical};
		int err = steps[i].sides & side ? map_address(r, t, address, a, &address, why) : 0;

		if (err && err != -ENOENT)
			return err;
	}
	if (r->masquerade_sides & side)
		return masquerade(r, address, a, ret_address, why);
	*ret_address = address;
	return 0;
}

int router_bcc(struct router *r, struct str address, bool is_sender, struct arena *a, struct str *ret_address, struct buf *why)
{
	struct address_table t = {.maps = r->maps[is_sender ? MAP_SENDER_BCC : MAP_RECIPIENT_BCC]};

	return map_address(r, t, address, a, ret_address, why);
}

/* --- virtual aliases --------------------------------------------------------------- */

/* An address on its way, and the one it came from, so that a loop ends where it closes. */
struct step {
	struct str address;
	size_t parent; /* index, or SIZE_MAX */
	size_t depth;
};

struct expansion {
	struct router *r;
	struct arena *a;
	struct step *steps;
	size_t count;
	size_t limit;
	struct str *results;
	size_t result_count;
};

static bool is_ancestor(const struct expansion *e, size_t at, struct str address)
{
	for (; at != SIZE_MAX; at = e->steps[at].parent)
		if (str_eq_nocase(e->steps[at].address, address))
			return true;
	return false;
}

static void add_result(struct expansion *e, struct str address)
{
	for (size_t i = 0; i < e->result_count; i++)
		if (str_eq_nocase(e->results[i], address))
			return;
	e->results[e->result_count++] = address;
}

/* Takes in what the table says of step `at`. */
static int add_steps(struct expansion *e, size_t at, struct str value, struct str extension, struct buf *why)
{
	struct str address = e->steps[at].address, result;

	if (!e->r->propagates_virtual)
		extension = (struct str){NULL, 0};
	while (route_next_address(&value, e->a, &result)) {
		result = apply_result(e->r, result, address, extension, e->a);
		if (result.len > (size_t)e->r->params->virtual_alias_address_length_limit) {
			buf_addf(why, "unreasonable virtual_alias_maps result %.300s... for %.*s", result.ptr, STR_ARG(address));
			return -E2BIG;
		}
		if (is_ancestor(e, at, result)) {
			add_result(e, result);
			continue;
		}
		if (e->count >= e->limit) {
			buf_addf(why, "unreasonable virtual_alias_maps map expansion size for %.*s",
			         STR_ARG(e->steps[0].address));
			return -E2BIG;
		}
		e->steps[e->count++] = (struct step){result, at, e->steps[at].depth + 1};
	}
	return 0;
}

static int expand(struct expansion *e, struct buf *why)
{
	struct router *r = e->r;

	for (size_t at = 0; at < e->count; at++) {
		struct address_match match;
		int err = router_find_address(r, r->maps[MAP_VIRTUAL_ALIAS], e->steps[at].address, e->a, &match, why);

		if (err == -ENOENT) {
			add_result(e, e->steps[at].address);
			continue;
		}
		if (!err && e->steps[at].depth >= (size_t)r->params->virtual_alias_recursion_limit) {
			buf_addf(why, "unreasonable virtual_alias_maps map nesting for %.*s", STR_ARG(e->steps[0].address));
			err = -E2BIG;
		}
		if (!err)
			err = add_steps(e, at, match.value, match.extension, why);
		if (err)
			return err;
	}
	return 0;
}

int router_expand_virtual(struct router *r, struct str address, struct arena *a, struct str **ret_addresses, size_t *ret_count,
                          struct buf *why)
{
	struct expansion e = {.r = r, .a = a, .count = 1};
	struct address_match match;
	int err;

	e.results = arena_alloc(a, sizeof(struct str));
	/* Nearly every address has no alias: that costs one search and no table of steps. */
	err = router_find_address(r, r->maps[MAP_VIRTUAL_ALIAS], address, a, &match, why);
	if (err == -ENOENT) {
		e.results[0] = address;
		*ret_addresses = e.results;
		*ret_count = 1;
		return 0;
	}
	if (err)
		return err;
	e.limit = (size_t)r->params->virtual_alias_expansion_limit + 1;
	e.steps = mem_alloc(e.limit * sizeof(*e.steps));
	e.results = arena_alloc(a, 2 * e.limit * sizeof(struct str));
	e.steps[0] = (struct step){address, SIZE_MAX, 0};
	err = expand(&e, why);
	free(e.steps);
	if (err)
		return err;
	*ret_addresses = e.results;
	*ret_count = e.result_count;
	return 0;
}
