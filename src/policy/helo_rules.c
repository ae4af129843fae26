/* SPDX-License-Identifier: Apache-2.0 */
/* Rules about the HELO name. */

#include "policy/host_name.h"
#include "policy/policy_internal.h"

/* The name without one final dot. */
static struct str helo_name(const struct run *r)
{
	struct str name = r->s->helo;

	return name.len > 1 && name.ptr[name.len - 1] == '.' ? str_cut(name, 0, name.len - 1) : name;
}

static enum verdict reject_bad_literal(struct run *r)
{
	return run_reject_subject(r, SUBJECT_HELO, (int)r->p->params->invalid_hostname_reject_code, DSN(5, 5, 2),
	                          STR("invalid ip address"));
}

static bool is_literal(struct str name)
{
	return !str_is_empty(name) && name.ptr[0] == '[';
}

enum verdict rule_reject_invalid_helo_hostname(struct run *r, const struct rule *rule)
{
	struct str name = helo_name(r);

	if (is_literal(name))
		return host_literal_is_valid(name) ? DUNNO : reject_bad_literal(r);
	if (host_name_is_valid(name) || host_address_is_valid(name))
		return DUNNO;
	return run_reject_subject(r, SUBJECT_HELO, (int)r->p->params->invalid_hostname_reject_code, DSN(5, 5, 2),
	                          STR("Invalid name"));
}

enum verdict rule_reject_non_fqdn_helo_hostname(struct run *r, const struct rule *rule)
{
	struct str name = helo_name(r);

	if (is_literal(name))
		return host_literal_is_valid(name) ? DUNNO : reject_bad_literal(r);
	if (host_name_is_valid(name) && str_has(name, '.'))
		return DUNNO;
	return run_reject_subject(r, SUBJECT_HELO, (int)r->p->params->non_fqdn_reject_code, DSN(5, 5, 2),
	                          STR("need fully-qualified hostname"));
}

/* DNS_FOUND when the name has an address or a mail exchanger, even a null one. */
static enum dns_status host_exists(struct str name, struct arena *a)
{
	static const enum dns_type types[] = {DNS_A, DNS_AAAA, DNS_MX};
	enum dns_status worst = DNS_NO_NAME;

	for (size_t i = 0; i < COUNT_OF(types); i++) {
		struct dns_answer answer;

		if (dns_lookup(name, types[i], duration_s(30), a, &answer))
			answer.status = DNS_TRY_AGAIN;
		if (answer.status == DNS_FOUND)
			return DNS_FOUND;
		if (answer.status == DNS_TRY_AGAIN || answer.status == DNS_BOGUS)
			worst = DNS_TRY_AGAIN;
	}
	return worst;
}

enum verdict rule_reject_unknown_helo_hostname(struct run *r, const struct rule *rule)
{
	const struct params *params = r->p->params;
	struct str name = helo_name(r);
	enum dns_status status;

	if (is_literal(name))
		return host_literal_is_valid(name) ? DUNNO : reject_bad_literal(r);
	status = host_exists(name, r->s->arena);
	if (status == DNS_FOUND)
		return DUNNO;
	if (status == DNS_TRY_AGAIN)
		return run_tempfail(r, params->unknown_helo_hostname_tempfail_action, SUBJECT_HELO, 450, DSN(4, 7, 1),
		                    STR("Host not found"));
	return run_reject_subject(r, SUBJECT_HELO, (int)params->unknown_hostname_reject_code, DSN(4, 7, 1),
	                          STR("Host not found"));
}
