/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check_*_access: which keys are looked up, in which order, until one is found.
 *
 *	host name   name, then its parents down to the top level ("domain" or ".domain")
 *	address     192.0.2.1, 192.0.2, 192.0, 192; IPv6 likewise at colons
 *	mail        user+ext@domain, user@domain, domain and parents, user+ext@, user@
 *
 * Pattern tables (regexp, pcre, cidr ...) see the whole key alone.
 */
#include <errno.h>

#include "mail/address.h"
#include "policy/host_name.h"
#include "policy/policy_internal.h"

bool access_key(struct access *ac, struct str key, enum key_kind kind, enum verdict *ret_verdict)
{
	struct run *r = ac->run;
	struct table *table = ac->rule->table;
	struct str spec = table_spec(table);
	struct str value;
	int err;

	if (kind == KEY_PARTIAL && !table_is_fixed_key(table))
		return false;
	buf_reset(&r->why);
	err = table_find(table, key, r->s->arena, &value, &r->why);
	if (err == -ENOENT)
		return false;
	if (err) {
		run_note(r, NOTE_WARNING, STR(""), "%.*s lookup error for \"%.*s\": %.*s", STR_ARG(spec), STR_ARG(key),
		         STR_ARG(buf_str(&r->why)));
		run_explain(r, "the table failed: %.*s", STR_ARG(buf_str(&r->why)));
		*ret_verdict = run_table_error(r, ac->about);
		return true;
	}
	if (str_is_empty(str_trim(value))) {
		run_note(r, NOTE_WARNING, STR(""), "%.*s lookup of %.*s returns an empty string result", STR_ARG(spec),
		         STR_ARG(key));
		run_note(r, NOTE_WARNING, STR(""), "%.*s should return NO RESULT in case of NOT FOUND", STR_ARG(spec));
		*ret_verdict = run_table_error(r, ac->about);
		return true;
	}
	run_explain(r, "%.*s: \"%.*s\"", STR_ARG(key), STR_ARG(value));
	*ret_verdict = access_act(r, spec, key, value, ac->about);
	return true;
}

bool access_host_name(struct access *ac, struct str name, enum key_kind kind, enum verdict *ret_verdict)
{
	struct str rest = name;

	if (str_is_empty(name))
		return false;
	if (access_key(ac, name, kind, ret_verdict))
		return true;
	/* "192.0.2.1" as a name has no parents. */
	if (!table_is_fixed_key(ac->rule->table) || host_address_is_valid(name))
		return false;
	for (;;) {
		size_t dot = str_find(str_from(rest, 1), '.') + 1;

		if (dot >= rest.len)
			return false;
		rest = str_from(rest, dot);
		if (access_key(ac, ac->run->p->has_parent_keys ? str_from(rest, 1) : rest, KEY_PARTIAL, ret_verdict))
			return true;
	}
}

bool access_address(struct access *ac, struct str address, enum key_kind kind, enum verdict *ret_verdict)
{
	char separator = str_has(address, ':') ? ':' : '.';
	struct str key = address;

	if (str_is_empty(address))
		return false;
	if (access_key(ac, key, kind, ret_verdict))
		return true;
	while (table_is_fixed_key(ac->rule->table)) {
		size_t at = str_find_last(key, separator);

		if (at == key.len)
			return false;
		/* "2001:db8::1" goes on to "2001:db8", not to "2001:db8:". */
		while (at > 0 && key.ptr[at - 1] == separator)
			at--;
		key = str_cut(key, 0, at);
		if (str_is_empty(key))
			return false;
		if (access_key(ac, key, KEY_PARTIAL, ret_verdict))
			return true;
	}
	return false;
}

bool access_mail(struct access *ac, const struct route *route, enum verdict *ret_verdict)
{
	struct run *r = ac->run;
	struct arena *a = r->s->arena;
	struct str local, domain, plain, extension;
	bool has_domain = address_split(route->recipient, &local, &domain);
	bool is_extended;

	if (access_key(ac, route->recipient, KEY_WHOLE, ret_verdict))
		return true;
	if (!table_is_fixed_key(ac->rule->table) || !has_domain)
		return false;
	is_extended = split_extension(local, r->p->params->recipient_delimiter, true, &plain, &extension);
	if (is_extended &&
	    access_key(ac, arena_printf(a, "%.*s@%.*s", STR_ARG(plain), STR_ARG(domain)), KEY_PARTIAL, ret_verdict))
		return true;
	if (access_host_name(ac, domain, KEY_PARTIAL, ret_verdict))
		return true;
	if (access_key(ac, arena_printf(a, "%.*s@", STR_ARG(local)), KEY_PARTIAL, ret_verdict))
		return true;
	return is_extended && access_key(ac, arena_printf(a, "%.*s@", STR_ARG(plain)), KEY_PARTIAL, ret_verdict);
}

/* --- the rules ----------------------------------------------------------------------------- */

static void explain_not_found(struct run *r, struct str what)
{
	run_explain(r, "%.*s is not listed", STR_ARG(what));
}

/* An OK for what a stranger chose himself would be a gift to him. */
static enum verdict refuse_ok(struct run *r, const struct rule *rule, struct str what, enum verdict verdict)
{
	if (verdict != PERMIT || r->act->is_discarded)
		return verdict;
	run_note(r, NOTE_WARNING, STR(""), "restriction %s returns OK for %.*s", rule->type->name, STR_ARG(what));
	run_note(r, NOTE_WARNING, STR(""), "this is not allowed for security reasons");
	run_note(r, NOTE_WARNING, STR(""), "use DUNNO instead of OK if you want to make an exception");
	return run_server_error(r);
}

static enum verdict check_client(struct run *r, const struct rule *rule, enum subject about, struct str name)
{
	struct access ac = {.run = r, .rule = rule, .about = about};
	enum verdict verdict = DUNNO;

	if (!access_host_name(&ac, name, KEY_WHOLE, &verdict) && !access_address(&ac, r->s->client_address, KEY_WHOLE, &verdict))
		run_explain(r, "neither %.*s nor %.*s is listed", STR_ARG(name), STR_ARG(r->s->client_address));
	return verdict;
}

enum verdict rule_check_client_access(struct run *r, const struct rule *rule)
{
	return check_client(r, rule, SUBJECT_CLIENT, r->s->client_name);
}

enum verdict rule_check_reverse_client_access(struct run *r, const struct rule *rule)
{
	return refuse_ok(r, rule, r->s->client_reverse_name,
	                 check_client(r, rule, SUBJECT_REVERSE_CLIENT, r->s->client_reverse_name));
}

enum verdict rule_check_helo_access(struct run *r, const struct rule *rule)
{
	struct access ac = {.run = r, .rule = rule, .about = SUBJECT_HELO};
	enum verdict verdict = DUNNO;

	if (!access_host_name(&ac, r->s->helo, KEY_WHOLE, &verdict))
		explain_not_found(r, r->s->helo);
	return verdict;
}

enum verdict rule_check_etrn_access(struct run *r, const struct rule *rule)
{
	struct access ac = {.run = r, .rule = rule, .about = SUBJECT_ETRN};
	enum verdict verdict = DUNNO;

	if (!access_host_name(&ac, r->s->etrn_domain, KEY_WHOLE, &verdict))
		explain_not_found(r, r->s->etrn_domain);
	return verdict;
}

enum verdict rule_check_sasl_access(struct run *r, const struct rule *rule)
{
	struct access ac = {.run = r, .rule = rule, .about = SUBJECT_LOGIN};
	enum verdict verdict = DUNNO;

	if (str_is_empty(r->s->sasl_username))
		run_explain(r, "not logged in");
	else if (!access_key(&ac, r->s->sasl_username, KEY_WHOLE, &verdict))
		explain_not_found(r, r->s->sasl_username);
	return verdict;
}

enum verdict rule_check_ccert_access(struct run *r, const struct rule *rule)
{
	struct access ac = {.run = r, .rule = rule, .about = SUBJECT_CERTIFICATE};
	const struct str of_certificate = rule->searches_key_only ? STR("") : r->s->ccert_fingerprint;
	const struct str of_key = rule->searches_certificate_only ? STR("") : r->s->ccert_pubkey_fingerprint;
	const struct str prints[] = {rule->searches_key_first ? of_key : of_certificate,
	                             rule->searches_key_first ? of_certificate : of_key};
	enum verdict verdict = DUNNO;

	for (size_t i = 0; i < COUNT_OF(prints); i++)
		if (!str_is_empty(prints[i]) && access_key(&ac, prints[i], KEY_WHOLE, &verdict) && verdict != DUNNO)
			return verdict;
	run_explain(r, "no certificate that is listed");
	return verdict;
}

enum verdict rule_check_mail_access(struct run *r, const struct rule *rule)
{
	struct access ac = {.run = r, .rule = rule, .about = rule->type->subject};
	bool is_sender = ac.about == SUBJECT_SENDER;
	const struct route *route;
	enum verdict verdict = DUNNO;

	if (is_sender && str_is_empty(r->s->sender)) {
		if (!access_key(&ac, r->p->params->smtpd_null_access_lookup_key, KEY_WHOLE, &verdict))
			explain_not_found(r, STR("the null sender"));
		return verdict;
	}
	if (is_sender ? run_sender_route(r, &route) : run_recipient_route(r, &route))
		return run_resolver_error(r, ac.about);
	if (!access_mail(&ac, route, &verdict))
		explain_not_found(r, route->recipient);
	/* OK must not let a stranger route mail through us. */
	if (verdict == PERMIT && !is_sender && route->is_routed && !r->p->params->allow_untrusted_routing &&
	    !r->act->is_discarded) {
		run_explain(r, "OK does not count for an address with a route of its own");
		return DUNNO;
	}
	return verdict;
}

/* --- check_*_{a,mx,ns}_access: the hosts behind a domain -------------------------------------- */

static struct str hosts_domain(struct run *r, enum subject about)
{
	switch (about) {
	case SUBJECT_CLIENT:
		return str_eq(r->s->client_name, STR("unknown")) ? STR("") : r->s->client_name;
	case SUBJECT_REVERSE_CLIENT:
		return str_eq(r->s->client_reverse_name, STR("unknown")) ? STR("") : r->s->client_reverse_name;
	case SUBJECT_HELO:
		return r->s->helo;
	case SUBJECT_SENDER:
		return address_domain(r->s->sender);
	case SUBJECT_RECIPIENT:
		return address_domain(r->s->recipient);
	default:
		return STR("");
	}
}

/* The hosts to look at: the name itself, its mail exchangers, or the name servers of its zone. */
static int find_hosts(struct run *r, struct str domain, enum dns_type type, struct dns_answer *ret_hosts)
{
	struct str zone = domain;

	*ret_hosts = (struct dns_answer){.status = DNS_FOUND};
	if (type == DNS_A)
		return 0;
	for (;;) {
		int err = dns_lookup(zone, type, duration_s(30), r->s->arena, ret_hosts);
		size_t dot = str_find(zone, '.');

		if (err)
			return err;
		/* Name servers are those of the nearest zone above. */
		if (type != DNS_NS || ret_hosts->status == DNS_FOUND || ret_hosts->status == DNS_TRY_AGAIN || dot >= zone.len ||
		    !str_has(str_from(zone, dot + 1), '.'))
			return 0;
		zone = str_from(zone, dot + 1);
	}
}

static bool check_host(struct access *ac, struct str host, enum verdict *ret_verdict)
{
	struct run *r = ac->run;
	struct dns_answer answer;

	if (ac->rule->type->hosts != DNS_A && access_host_name(ac, host, KEY_WHOLE, ret_verdict))
		return true;
	if (dns_addresses(host, true, true, true, r->s->arena, &answer) || answer.status != DNS_FOUND)
		return false;
	for (size_t i = 0; i < answer.count; i++) {
		struct str address = host_address_format(r->s->arena, answer.records[i].data);

		if (access_address(ac, address, KEY_WHOLE, ret_verdict))
			return true;
	}
	return false;
}

enum verdict rule_check_hosts_access(struct run *r, const struct rule *rule)
{
	struct access ac = {.run = r, .rule = rule, .about = rule->type->subject};
	struct str domain = hosts_domain(r, ac.about);
	enum verdict verdict = DUNNO;
	struct dns_answer hosts;

	if (str_is_empty(domain) || domain.ptr[0] == '[' || host_address_is_valid(domain)) {
		run_explain(r, "no name to look up");
		return DUNNO;
	}
	if (find_hosts(r, domain, rule->type->hosts, &hosts) || hosts.status == DNS_TRY_AGAIN) {
		run_note(r, NOTE_WARNING, STR(""), "%s: unable to look up the hosts of %.*s", rule->type->name, STR_ARG(domain));
		return DUNNO;
	}
	/* A domain without exchangers is its own. */
	if (hosts.count == 0 && rule->type->hosts != DNS_NS)
		return check_host(&ac, domain, &verdict) ? refuse_ok(r, rule, domain, verdict) : DUNNO;
	for (size_t i = 0; i < hosts.count; i++)
		if (!str_is_empty(hosts.records[i].name) && check_host(&ac, hosts.records[i].name, &verdict))
			return refuse_ok(r, rule, domain, verdict);
	run_explain(r, "no host behind %.*s is listed", STR_ARG(domain));
	return DUNNO;
}
