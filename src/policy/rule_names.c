/* SPDX-License-Identifier: Apache-2.0 */
/* The table of all restriction names: what runs, what follows the name, when it is skipped. */
#include "policy/policy_internal.h"

#define TABLE_RULE(name, fn, flags, about) \
	{ \
		name, fn, ARGUMENT_TABLE, flags, about, 0 \
	}
#define HOSTS_RULES(prefix, flags, about) \
	{prefix "_a_access", rule_check_hosts_access, ARGUMENT_TABLE, (flags) | RULE_NO_OK, about, DNS_A}, \
		{prefix "_mx_access", rule_check_hosts_access, ARGUMENT_TABLE, (flags) | RULE_NO_OK, about, DNS_MX}, \
	{ \
		prefix "_ns_access", rule_check_hosts_access, ARGUMENT_TABLE, (flags) | RULE_NO_OK, about, DNS_NS \
	}

static const struct rule_type types[] = {
	{"permit", rule_permit, 0, RULE_ENDS_LIST, 0, 0},
	{"reject", rule_reject, 0, RULE_ENDS_LIST | RULE_GUARDS_RELAY, 0, 0},
	{"defer", rule_defer, 0, RULE_ENDS_LIST | RULE_GUARDS_RELAY, 0, 0},
	{"defer_if_permit", rule_defer_if_permit, 0, RULE_GUARDS_RELAY, 0, 0},
	{"defer_if_reject", rule_defer_if_reject, 0, 0, 0, 0},
	{"sleep", rule_sleep, ARGUMENT_NUMBER, 0, 0, 0},
	{"reject_plaintext_session", rule_reject_plaintext_session, 0, 0, 0, 0},
	{"reject_unauth_pipelining", rule_reject_unauth_pipelining, 0, 0, 0, 0},
	{"reject_multi_recipient_bounce", rule_reject_multi_recipient_bounce, 0, RULE_NEEDS_SENDER, 0, 0},
	{"check_policy_service", rule_check_policy_service, ARGUMENT_SERVICE, 0, 0, 0},

	{"permit_mynetworks", rule_permit_mynetworks, 0, 0, SUBJECT_CLIENT, 0},
	{"permit_inet_interfaces", rule_permit_inet_interfaces, 0, 0, SUBJECT_CLIENT, 0},
	{"permit_sasl_authenticated", rule_permit_sasl_authenticated, 0, 0, SUBJECT_CLIENT, 0},
	{"permit_tls_all_clientcerts", rule_permit_tls_all_clientcerts, 0, RULE_NEEDS_CCERT, SUBJECT_CLIENT, 0},
	{"permit_tls_clientcerts", rule_permit_tls_clientcerts, 0, RULE_NEEDS_CCERT, SUBJECT_CLIENT, 0},
	{"reject_unknown_client_hostname", rule_reject_unknown_client_hostname, 0, 0, SUBJECT_CLIENT, 0},
	{"reject_unknown_client", rule_reject_unknown_client_hostname, 0, 0, SUBJECT_CLIENT, 0},
	{"reject_unknown_reverse_client_hostname", rule_reject_unknown_reverse_client_hostname, 0, 0, SUBJECT_CLIENT, 0},
	TABLE_RULE("check_client_access", rule_check_client_access, 0, SUBJECT_CLIENT),
	TABLE_RULE("check_reverse_client_hostname_access", rule_check_reverse_client_access, RULE_NO_OK, SUBJECT_REVERSE_CLIENT),
	TABLE_RULE("check_ccert_access", rule_check_ccert_access, RULE_NEEDS_CCERT, SUBJECT_CERTIFICATE),
	TABLE_RULE("check_sasl_access", rule_check_sasl_access, RULE_NEEDS_SASL, SUBJECT_LOGIN),
	HOSTS_RULES("check_client", 0, SUBJECT_CLIENT),
	HOSTS_RULES("check_reverse_client_hostname", 0, SUBJECT_REVERSE_CLIENT),
	{"reject_rbl_client", rule_reject_rbl_client, ARGUMENT_DOMAIN, 0, SUBJECT_CLIENT, 0},
	{"reject_rbl", rule_reject_rbl_client, ARGUMENT_DOMAIN, 0, SUBJECT_CLIENT, 0},
	{"permit_dnswl_client", rule_permit_dnswl_client, ARGUMENT_DOMAIN, 0, SUBJECT_CLIENT, 0},
	{"reject_rhsbl_client", rule_reject_rhsbl, ARGUMENT_DOMAIN, 0, SUBJECT_CLIENT, 0},
	{"permit_rhswl_client", rule_permit_rhswl_client, ARGUMENT_DOMAIN, 0, SUBJECT_CLIENT, 0},
	{"reject_rhsbl_reverse_client", rule_reject_rhsbl, ARGUMENT_DOMAIN, 0, SUBJECT_REVERSE_CLIENT, 0},

	TABLE_RULE("check_helo_access", rule_check_helo_access, RULE_NEEDS_HELO, SUBJECT_HELO),
	HOSTS_RULES("check_helo", RULE_NEEDS_HELO, SUBJECT_HELO),
	{"reject_invalid_helo_hostname", rule_reject_invalid_helo_hostname, 0, RULE_NEEDS_HELO, SUBJECT_HELO, 0},
	{"reject_invalid_hostname", rule_reject_invalid_helo_hostname, 0, RULE_NEEDS_HELO, SUBJECT_HELO, 0},
	{"reject_non_fqdn_helo_hostname", rule_reject_non_fqdn_helo_hostname, 0, RULE_NEEDS_HELO, SUBJECT_HELO, 0},
	{"reject_non_fqdn_hostname", rule_reject_non_fqdn_helo_hostname, 0, RULE_NEEDS_HELO, SUBJECT_HELO, 0},
	{"reject_unknown_helo_hostname", rule_reject_unknown_helo_hostname, 0, RULE_NEEDS_HELO, SUBJECT_HELO, 0},
	{"reject_unknown_hostname", rule_reject_unknown_helo_hostname, 0, RULE_NEEDS_HELO, SUBJECT_HELO, 0},
	{"reject_rhsbl_helo", rule_reject_rhsbl, ARGUMENT_DOMAIN, RULE_NEEDS_HELO, SUBJECT_HELO, 0},

	TABLE_RULE("check_sender_access", rule_check_mail_access, RULE_NEEDS_SENDER, SUBJECT_SENDER),
	HOSTS_RULES("check_sender", RULE_NEEDS_SENDER, SUBJECT_SENDER),
	{"reject_non_fqdn_sender", rule_reject_non_fqdn_address, 0, RULE_NEEDS_SENDER, SUBJECT_SENDER, 0},
	{"reject_unknown_sender_domain", rule_reject_unknown_address_domain, 0, RULE_NEEDS_SENDER, SUBJECT_SENDER, 0},
	{"reject_unknown_address", rule_reject_unknown_address_domain, 0, RULE_NEEDS_SENDER, SUBJECT_SENDER, 0},
	{"reject_unlisted_sender", rule_reject_unlisted_sender, 0, RULE_NEEDS_SENDER, SUBJECT_SENDER, 0},
	{"reject_unverified_sender", NULL, 0, RULE_UNBUILT, SUBJECT_SENDER, 0},
	{"reject_rhsbl_sender", rule_reject_rhsbl, ARGUMENT_DOMAIN, RULE_NEEDS_SENDER, SUBJECT_SENDER, 0},
	{"reject_authenticated_sender_login_mismatch", rule_login_authenticated, 0, RULE_NEEDS_SASL | RULE_NEEDS_SENDER,
         SUBJECT_SENDER, 0},
	{"reject_unauthenticated_sender_login_mismatch", rule_login_unauthenticated, 0, RULE_NEEDS_SASL | RULE_NEEDS_SENDER,
         SUBJECT_SENDER, 0},
	{"reject_known_sender_login_mismatch", rule_login_known, 0, RULE_NEEDS_SASL | RULE_NEEDS_SENDER, SUBJECT_SENDER, 0},
	{"reject_sender_login_mismatch", rule_login_all, 0, RULE_NEEDS_SASL | RULE_NEEDS_SENDER, SUBJECT_SENDER, 0},

	TABLE_RULE("check_recipient_access", rule_check_mail_access, RULE_NEEDS_RECIPIENT, SUBJECT_RECIPIENT),
	HOSTS_RULES("check_recipient", RULE_NEEDS_RECIPIENT, SUBJECT_RECIPIENT),
	{"permit_auth_destination", rule_permit_auth_destination, 0, RULE_NEEDS_RECIPIENT, SUBJECT_RECIPIENT, 0},
	{"reject_unauth_destination", rule_reject_unauth_destination, 0, RULE_NEEDS_RECIPIENT | RULE_GUARDS_RELAY,
         SUBJECT_RECIPIENT, 0},
	{"defer_unauth_destination", rule_defer_unauth_destination, 0, RULE_NEEDS_RECIPIENT | RULE_GUARDS_RELAY,
         SUBJECT_RECIPIENT, 0},
	{"permit_mx_backup", rule_permit_mx_backup, 0, RULE_NEEDS_RECIPIENT | RULE_OUTDATED, SUBJECT_RECIPIENT, 0},
	{"reject_non_fqdn_recipient", rule_reject_non_fqdn_address, 0, RULE_NEEDS_RECIPIENT, SUBJECT_RECIPIENT, 0},
	{"reject_unknown_recipient_domain", rule_reject_unknown_address_domain, 0, RULE_NEEDS_RECIPIENT, SUBJECT_RECIPIENT, 0},
	{"reject_unlisted_recipient", rule_reject_unlisted_recipient, 0, RULE_NEEDS_RECIPIENT, SUBJECT_RECIPIENT, 0},
	{"check_recipient_maps", rule_reject_unlisted_recipient, 0, RULE_NEEDS_RECIPIENT, SUBJECT_RECIPIENT, 0},
	{"reject_unverified_recipient", NULL, 0, RULE_UNBUILT, SUBJECT_RECIPIENT, 0},
	{"reject_rhsbl_recipient", rule_reject_rhsbl, ARGUMENT_DOMAIN, RULE_NEEDS_RECIPIENT, SUBJECT_RECIPIENT, 0},

	TABLE_RULE("check_etrn_access", rule_check_etrn_access, 0, SUBJECT_ETRN),
};

const struct rule_type rule_type_class = {"", rule_class, 0, 0, 0, 0};
const struct rule_type rule_type_unknown = {"", rule_unknown, 0, 0, 0, 0};
const struct rule_type rule_type_broken = {"", rule_broken, 0, 0, 0, 0};

const struct rule_type *rule_type_find(struct str name)
{
	for (size_t i = 0; i < COUNT_OF(types); i++)
		if (str_eq_nocase(name, str_of(types[i].name)))
			return &types[i];
	return NULL;
}
