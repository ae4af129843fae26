/* SPDX-License-Identifier: Apache-2.0 */
/* Rules about who connected: networks, own interfaces, authentication, certificates, host names. */
#include <errno.h>

#include "policy/policy_internal.h"

static enum verdict permit_listed_address(struct run *r, const struct rule *rule, struct match_list *list, const char *name)
{
	int answer;

	buf_reset(&r->why);
	answer = match_list_check(list, r->s->client_address, &r->why);
	if (answer < 0) {
		run_note(r, NOTE_WARNING, STR(""), "%s: %.*s", name, STR_ARG(buf_str(&r->why)));
		return run_table_error(r, SUBJECT_CLIENT);
	}
	if (!answer) {
		run_explain(r, "%.*s is not in %s", STR_ARG(r->s->client_address), name);
		return DUNNO;
	}
	run_explain(r, "%.*s is in %s", STR_ARG(r->s->client_address), name);
	return run_permit(r, str_of(rule->type->name), SUBJECT_CLIENT, STR(""));
}

enum verdict rule_permit_mynetworks(struct run *r, const struct rule *rule)
{
	return permit_listed_address(r, rule, r->p->mynetworks, "mynetworks");
}

enum verdict rule_permit_inet_interfaces(struct run *r, const struct rule *rule)
{
	return permit_listed_address(r, rule, r->p->own_addresses, "inet_interfaces");
}

enum verdict rule_permit_sasl_authenticated(struct run *r, const struct rule *rule)
{
	if (!r->p->params->smtpd_sasl_auth_enable) {
		run_explain(r, "smtpd_sasl_auth_enable is off");
		return DUNNO;
	}
	if (str_is_empty(r->s->sasl_username)) {
		run_explain(r, "not logged in");
		return DUNNO;
	}
	run_explain(r, "logged in as %.*s", STR_ARG(r->s->sasl_username));
	return run_permit(r, str_of(rule->type->name), SUBJECT_CLIENT, STR(""));
}

enum verdict rule_permit_tls_all_clientcerts(struct run *r, const struct rule *rule)
{
	if (!r->s->is_ccert_trusted) {
		run_explain(r, "no verified client certificate");
		return DUNNO;
	}
	return run_permit(r, str_of(rule->type->name), SUBJECT_CLIENT, STR(""));
}

enum verdict rule_permit_tls_clientcerts(struct run *r, const struct rule *rule)
{
	const struct str prints[] = {r->s->ccert_pubkey_fingerprint, r->s->ccert_fingerprint};

	for (size_t i = 0; i < COUNT_OF(prints); i++) {
		struct str value;
		int err;

		if (str_is_empty(prints[i]))
			continue;
		buf_reset(&r->why);
		err = maps_find(r->p->certificates, prints[i], false, r->s->arena, &value, &r->why);
		if (!err)
			return run_permit(r, str_of(rule->type->name), SUBJECT_CLIENT, STR(""));
		if (err != -ENOENT) {
			run_note(r, NOTE_WARNING, STR(""), "relay_clientcerts: %.*s", STR_ARG(buf_str(&r->why)));
			return run_table_error(r, SUBJECT_CERTIFICATE);
		}
	}
	run_explain(r, "no certificate that relay_clientcerts lists");
	return DUNNO;
}

enum verdict rule_reject_unknown_client_hostname(struct run *r, const struct rule *rule)
{
	int code = r->s->is_client_name_tempfail ? 450 : (int)r->p->params->unknown_client_reject_code;

	if (!str_eq(r->s->client_name, STR("unknown"))) {
		run_explain(r, "the name is %.*s, and leads back", STR_ARG(r->s->client_name));
		return DUNNO;
	}
	return run_reject(r, code, DSN(4, 7, 25), "Client host rejected: cannot find your hostname, [%.*s]",
	                  STR_ARG(r->s->client_address));
}

enum verdict rule_reject_unknown_reverse_client_hostname(struct run *r, const struct rule *rule)
{
	int code = r->s->is_reverse_name_tempfail ? 450 : (int)r->p->params->unknown_client_reject_code;

	if (!str_eq(r->s->client_reverse_name, STR("unknown"))) {
		run_explain(r, "the PTR name is %.*s", STR_ARG(r->s->client_reverse_name));
		return DUNNO;
	}
	return run_reject(r, code, DSN(4, 7, 1), "Client host rejected: cannot find your reverse hostname, [%.*s]",
	                  STR_ARG(r->s->client_address));
}
