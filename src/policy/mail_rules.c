/* SPDX-License-Identifier: Apache-2.0 */
/* Rules about sender and recipient addresses: syntax, domains in DNS, listed or not, owners of senders. */
#include <errno.h>

#include "mail/address.h"
#include "policy/policy_internal.h"

static struct str without_final_dot(struct str domain)
{
	return domain.len && domain.ptr[domain.len - 1] == '.' ? str_cut(domain, 0, domain.len - 1) : domain;
}

enum verdict rule_reject_non_fqdn_address(struct run *r, const struct rule *rule)
{
	enum subject about = rule->type->subject;
	struct str address = about == SUBJECT_SENDER ? r->s->sender_raw : r->s->recipient_raw;
	struct str domain = without_final_dot(address_domain(address));

	if (str_is_empty(address) || str_has(domain, '.') || str_has(domain, '['))
		return DUNNO;
	return run_reject_subject(r, about, (int)r->p->params->non_fqdn_reject_code, DSN(5, 5, 2),
	                          STR("need fully-qualified address"));
}

static bool is_null_mx(const struct dns_answer *mx)
{
	return mx->status == DNS_FOUND && mx->count == 1 && str_is_empty(mx->records[0].name);
}

/* Has it a mail exchanger or an address? DNS_FOUND, DNS_TRY_AGAIN, or another status for "no". */
static enum dns_status domain_exists(struct str domain, struct arena *a, bool *ret_null_mx)
{
	static const enum dns_type types[] = {DNS_MX, DNS_A, DNS_AAAA};
	enum dns_status result = DNS_NO_NAME;

	*ret_null_mx = false;
	for (size_t i = 0; i < COUNT_OF(types); i++) {
		struct dns_answer answer = {.status = DNS_TRY_AGAIN};

		if (dns_lookup(domain, types[i], duration_s(30), a, &answer))
			answer.status = DNS_TRY_AGAIN;
		if (types[i] == DNS_MX && is_null_mx(&answer))
			*ret_null_mx = true;
		if (answer.status == DNS_FOUND)
			return DNS_FOUND;
		if (answer.status == DNS_TRY_AGAIN || answer.status == DNS_BOGUS)
			result = DNS_TRY_AGAIN;
	}
	return result;
}

static enum verdict reject_null_mx(struct run *r, enum subject about, struct str domain)
{
	struct str text = arena_printf(r->s->arena, "Domain %.*s does not accept mail (nullMX)", STR_ARG(domain));

	if (about == SUBJECT_SENDER)
		return run_reject_subject(r, about, 550, DSN(5, 7, 27), text);
	return run_reject_subject(r, about, 556, DSN(5, 1, 10), text);
}

enum verdict rule_reject_unknown_address_domain(struct run *r, const struct rule *rule)
{
	enum subject about = rule->type->subject;
	const struct params *params = r->p->params;
	struct dsn_code dsn = about == SUBJECT_SENDER ? DSN(4, 1, 8) : DSN(4, 1, 2);
	const struct route *route;
	enum dns_status status;
	struct str domain;
	bool has_null_mx;

	if (str_is_empty(about == SUBJECT_SENDER ? r->s->sender : r->s->recipient))
		return DUNNO;
	if (about == SUBJECT_SENDER ? run_sender_route(r, &route) : run_recipient_route(r, &route))
		return run_resolver_error(r, about);
	if (route->class != CLASS_DEFAULT && route->class != CLASS_RELAY) {
		run_explain(r, "the domain is ours");
		return DUNNO;
	}
	domain = without_final_dot(address_domain(route->recipient));
	if (str_is_empty(domain) || domain.ptr[0] == '[')
		return DUNNO;
	status = domain_exists(domain, r->s->arena, &has_null_mx);
	if (has_null_mx)
		return reject_null_mx(r, about, domain);
	if (status == DNS_FOUND)
		return DUNNO;
	if (status == DNS_TRY_AGAIN)
		return run_tempfail(r, params->unknown_address_tempfail_action, about, 450, dsn, STR("Domain not found"));
	return run_reject_subject(r, about, (int)params->unknown_address_reject_code, dsn, STR("Domain not found"));
}

/* --- does the address exist? ---------------------------------------------------------- */

static int unlisted_code(const struct params *params, enum address_class class)
{
	switch (class) {
	case CLASS_VIRTUAL_ALIAS:
		return (int)params->unknown_virtual_alias_reject_code;
	case CLASS_VIRTUAL_MAILBOX:
		return (int)params->unknown_virtual_mailbox_reject_code;
	case CLASS_RELAY:
		return (int)params->unknown_relay_recipient_reject_code;
	default:
		return (int)params->unknown_local_recipient_reject_code;
	}
}

/* Relocated users and the transports error and retry: the route itself says what to answer. */
static enum verdict reject_error_route(struct run *r, enum subject about, const struct route *route, bool is_temporary)
{
	struct dsn_code dsn = is_temporary ? DSN(4, 1, 1) : DSN(5, 1, 1);
	struct str text = route->nexthop;

	(void)!dsn_code_parse(&text, &dsn);
	return run_reject_subject(r, about, is_temporary ? 450 : 550, access_fix_dsn(dsn, about), str_trim(text));
}

static enum verdict reject_unlisted(struct run *r, enum subject about, const struct route *route)
{
	struct dsn_code dsn = about == SUBJECT_SENDER ? DSN(5, 1, 0) : DSN(5, 1, 1);
	const char *table = NULL;
	struct str text;
	int exists;

	if (route->is_error || str_eq(route->transport, STR("retry")))
		return reject_error_route(r, about, route, str_eq(route->transport, STR("retry")));
	buf_reset(&r->why);
	exists = router_recipient_exists(r->p->router, route, r->s->arena, &table, &r->why);
	if (exists < 0)
		return run_resolver_error(r, about);
	if (exists) {
		run_explain(r, "%.*s %s", STR_ARG(route->recipient),
		            route->class == CLASS_DEFAULT ? "is not ours to know" : "exists, or no table says who does");
		return DUNNO;
	}
	if (r->p->params->show_user_unknown_table_name && table)
		text = arena_printf(r->s->arena, "User unknown in %s", table);
	else
		text = STR("User unknown");
	return run_reject_subject(r, about, unlisted_code(r->p->params, route->class), dsn, text);
}

enum verdict rule_reject_unlisted_sender(struct run *r, const struct rule *rule)
{
	const struct route *route;

	r->is_sender_checked = true;
	if (str_is_empty(r->s->sender))
		return DUNNO;
	if (run_sender_route(r, &route))
		return run_resolver_error(r, SUBJECT_SENDER);
	return reject_unlisted(r, SUBJECT_SENDER, route);
}

enum verdict rule_reject_unlisted_recipient(struct run *r, const struct rule *rule)
{
	const struct route *route;

	r->is_recipient_checked = true;
	if (run_recipient_route(r, &route))
		return run_resolver_error(r, SUBJECT_RECIPIENT);
	return reject_unlisted(r, SUBJECT_RECIPIENT, route);
}

/* --- relaying -------------------------------------------------------------------------- */

/* 1 ours to take, 0 not, <0 the resolver failed. */
static int is_authorized(struct run *r)
{
	const struct route *route;
	struct route trusted;

	if (run_recipient_route(r, &route))
		return -1;
	trusted = *route;
	if (r->p->params->allow_untrusted_routing)
		trusted.is_routed = false;
	if (r->p->record) {
		static const char *const names[] = {"not one of ours", "local", "a virtual alias domain",
		                                    "a virtual mailbox domain", "a relay domain"};
		struct str domain = address_domain(route->recipient);

		run_explain(r, "%.*s is %s%s", STR_ARG(domain), names[route->class],
		            trusted.is_routed ? ", but the address names a route of its own" : "");
	}
	return route_is_authorized(&trusted);
}

enum verdict rule_permit_auth_destination(struct run *r, const struct rule *rule)
{
	int ours = is_authorized(r);

	if (ours < 0)
		return run_resolver_error(r, SUBJECT_RECIPIENT);
	return ours ? run_permit(r, str_of(rule->type->name), SUBJECT_RECIPIENT, STR("")) : DUNNO;
}

enum verdict rule_reject_unauth_destination(struct run *r, const struct rule *rule)
{
	int ours = is_authorized(r);

	if (ours < 0)
		return run_resolver_error(r, SUBJECT_RECIPIENT);
	if (ours)
		return DUNNO;
	return run_reject(r, (int)r->p->params->relay_domains_reject_code, DSN(5, 7, 1), "<%.*s>: Relay access denied",
	                  STR_ARG(r->s->recipient_raw));
}

enum verdict rule_defer_unauth_destination(struct run *r, const struct rule *rule)
{
	int code = (int)r->p->params->relay_domains_reject_code;
	int ours = is_authorized(r);

	if (ours < 0)
		return run_resolver_error(r, SUBJECT_RECIPIENT);
	if (ours)
		return DUNNO;
	return run_reject(r, code >= 500 ? code - 100 : code, DSN(4, 7, 1), "<%.*s>: Relay access denied",
	                  STR_ARG(r->s->recipient_raw));
}
