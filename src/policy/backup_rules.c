/* SPDX-License-Identifier: Apache-2.0 */
/* permit_mx_backup: mail for domains that name this host among their exchangers, but not first. */
#include "mail/address.h"
#include "policy/host_name.h"
#include "policy/policy_internal.h"

/* What DNS says about a host; in the order of weight for several hosts. */
enum finding { IS_NOT, IS_UNKNOWN, IS };

static bool is_temporary(enum dns_status status)
{
	return status == DNS_TRY_AGAIN || status == DNS_BOGUS;
}

static bool is_listed(struct run *r, struct match_list *l, struct str address)
{
	buf_reset(&r->why);
	return match_list_check(l, address, &r->why) > 0;
}

/* Have some of the host's addresses, or all of them, their place in one of the lists? */
static enum finding host_is_in(struct run *r, struct str host, struct match_list *const lists[2], bool needs_all)
{
	struct dns_answer answer = {.status = DNS_TRY_AGAIN};
	size_t found = 0;

	if (dns_addresses(host, true, true, true, r->s->arena, &answer) || is_temporary(answer.status))
		return IS_UNKNOWN;
	for (size_t i = 0; i < answer.count; i++) {
		struct str address = host_address_format(r->s->arena, answer.records[i].data);

		found += is_listed(r, lists[0], address) || (lists[1] && is_listed(r, lists[1], address));
	}
	return found > 0 && (!needs_all || found == answer.count) ? IS : IS_NOT;
}

static bool is_primary(const struct dns_answer *mx, size_t at)
{
	return mx->records[at].preference == mx->records[0].preference;
}

/* Are we one of the exchangers, but none of the first ones? */
static enum finding are_we_backup(struct run *r, const struct dns_answer *mx)
{
	struct match_list *const own[2] = {r->p->own_addresses, r->p->proxy_addresses};
	enum finding result = IS_NOT;

	for (size_t i = 0; i < mx->count; i++) {
		enum finding here = host_is_in(r, mx->records[i].name, own, false);

		if (here == IS && is_primary(mx, i)) {
			run_explain(r, "we are its first exchanger");
			return IS_NOT;
		}
		/* A first exchanger that cannot be looked up may be us. */
		if (here == IS_UNKNOWN && is_primary(mx, i))
			return IS_UNKNOWN;
		if (here > result)
			result = here;
	}
	if (result == IS_NOT)
		run_explain(r, "we are not among its exchangers");
	return result;
}

/* permit_mx_backup_networks: the first exchangers must all stand there. */
static enum finding are_primaries_known(struct run *r, const struct dns_answer *mx)
{
	struct match_list *const networks[2] = {r->p->backup_networks};

	for (size_t i = 0; r->p->backup_networks && i < mx->count && is_primary(mx, i); i++) {
		enum finding here = host_is_in(r, mx->records[i].name, networks, true);

		if (here == IS_NOT)
			run_explain(r, "%.*s is not in permit_mx_backup_networks", STR_ARG(mx->records[i].name));
		if (here != IS)
			return here;
	}
	return IS;
}

enum verdict rule_permit_mx_backup(struct run *r, const struct rule *rule)
{
	enum verdict ours = rule_permit_auth_destination(r, rule);
	struct dns_answer mx = {.status = DNS_TRY_AGAIN};
	enum finding found = IS_UNKNOWN;
	const struct route *route;
	struct str domain;

	if (ours != DUNNO)
		return ours;
	if (run_recipient_route(r, &route))
		return run_resolver_error(r, SUBJECT_RECIPIENT);
	domain = address_domain(route->recipient);
	if ((route->is_routed && !r->p->params->allow_untrusted_routing) || str_is_empty(domain) || domain.ptr[0] == '[')
		return DUNNO;
	if (!dns_lookup(domain, DNS_MX, duration_s(30), r->s->arena, &mx) && !is_temporary(mx.status)) {
		if (mx.count == 0)
			run_explain(r, "it has no mail exchangers");
		found = are_we_backup(r, &mx);
	}
	if (found == IS)
		found = are_primaries_known(r, &mx);
	if (found == IS_UNKNOWN)
		return run_defer_if_reject(r, SUBJECT_RECIPIENT, 450, DSN(4, 4, 4),
		                           STR("Unable to look up mail exchanger information"));
	return found == IS ? run_permit(r, str_of(rule->type->name), SUBJECT_RECIPIENT, STR("")) : DUNNO;
}
