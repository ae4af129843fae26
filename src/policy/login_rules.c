/* SPDX-License-Identifier: Apache-2.0 */
/* Rules that compare the sender with the login name: smtpd_sender_login_maps says who owns an address. */
#include <errno.h>

#include "policy/policy_internal.h"

/* The owners of the sender: 0 and a list, -ENOENT for an address without owners, else the table failed. */
static int find_owners(struct run *r, struct str *ret_owners)
{
	const struct route *route;
	struct address_match match;
	int err;

	if (maps_is_empty(r->p->login_owners))
		return -ENOENT;
	if (run_sender_route(r, &route))
		return -EAGAIN;
	buf_reset(&r->why);
	err = router_find_address(r->p->router, r->p->login_owners, route->recipient, r->s->arena, &match, &r->why);
	if (!err)
		*ret_owners = match.value;
	return err;
}

static enum verdict reject_not_owned(struct run *r)
{
	struct str text = arena_printf(r->s->arena, "not owned by user %.*s", STR_ARG(r->s->sasl_username));

	return run_reject_subject(r, SUBJECT_SENDER, 553, DSN(5, 7, 1), text);
}

enum { WHEN_LOGGED_IN = 1, WHEN_NOT_LOGGED_IN = 2, WHEN_OWNED = 4 };

static enum verdict compare(struct run *r, unsigned when)
{
	bool is_logged_in = !str_is_empty(r->s->sasl_username);
	struct str owners = {0};
	int err;

	if (str_is_empty(r->s->sender) || !(when & (is_logged_in ? WHEN_LOGGED_IN : WHEN_NOT_LOGGED_IN))) {
		run_explain(r, "%s", is_logged_in ? "logged in" : "not logged in");
		return DUNNO;
	}
	err = find_owners(r, &owners);
	if (err && err != -ENOENT)
		return run_resolver_error(r, SUBJECT_SENDER);
	run_explain(r, "%s %.*s", err ? "the sender has no owner" : "the owner is", STR_ARG(owners));
	if (!is_logged_in)
		return err ? DUNNO : run_reject_subject(r, SUBJECT_SENDER, 553, DSN(5, 7, 1), STR("not logged in"));
	if (err)
		return when & WHEN_OWNED ? DUNNO : reject_not_owned(r);
	return str_list_has(owners, r->s->sasl_username) ? DUNNO : reject_not_owned(r);
}

enum verdict rule_login_authenticated(struct run *r, const struct rule *rule)
{
	return compare(r, WHEN_LOGGED_IN);
}

enum verdict rule_login_unauthenticated(struct run *r, const struct rule *rule)
{
	return compare(r, WHEN_NOT_LOGGED_IN);
}

enum verdict rule_login_known(struct run *r, const struct rule *rule)
{
	return compare(r, WHEN_LOGGED_IN | WHEN_NOT_LOGGED_IN | WHEN_OWNED);
}

enum verdict rule_login_all(struct run *r, const struct rule *rule)
{
	return compare(r, WHEN_LOGGED_IN | WHEN_NOT_LOGGED_IN);
}
