/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of policy/ share: rules as parsed, a run over them, and how a rule answers. */
#pragma once

#include "base/map.h"
#include "config/config.h"
#include "config/params.h"
#include "net/dns.h"
#include "policy/policy.h"
#include "route/resolve.h"
#include "table/table.h"

enum verdict { DUNNO, PERMIT, REJECT };

/* The thing a rule has looked at; replies begin "<NAME>: CLASS rejected: ". */
enum subject {
	SUBJECT_CLIENT,
	SUBJECT_REVERSE_CLIENT,
	SUBJECT_CERTIFICATE,
	SUBJECT_LOGIN,
	SUBJECT_HELO,
	SUBJECT_SENDER,
	SUBJECT_RECIPIENT,
	SUBJECT_DATA,
	SUBJECT_END_OF_DATA,
	SUBJECT_ETRN,
	SUBJECT_COUNT,
};

struct run;
struct rule;
struct dnsbl;
struct policy_service;
typedef enum verdict rule_fn(struct run *r, const struct rule *rule) WAITS;

enum rule_argument { ARGUMENT_NONE, ARGUMENT_TABLE, ARGUMENT_DOMAIN, ARGUMENT_NUMBER, ARGUMENT_SERVICE };

enum rule_flag {
	RULE_ENDS_LIST = 1,    /* what stands behind it is never asked */
	RULE_GUARDS_RELAY = 2, /* enough to keep an open relay from starting */
	RULE_NEEDS_HELO = 4,   /* skipped when there is none */
	RULE_NEEDS_SENDER = 8,
	RULE_NEEDS_RECIPIENT = 16,
	RULE_NO_OK = 32,        /* a table's OK is refused: a stranger controls what is looked up */
	RULE_NEEDS_SASL = 64,   /* ignored with a warning when smtpd_sasl_auth_enable is off */
	RULE_UNBUILT = 128,     /* Postfix has it, we do not yet */
	RULE_NEEDS_CCERT = 256, /* never says anything when smtpd_tls_ask_ccert is off */
	RULE_OUTDATED = 512,    /* relay_domains is to be used instead */
};

/* One name of the restriction language. */
struct rule_type {
	const char *name;
	rule_fn *run;
	enum rule_argument argument;
	unsigned flags;
	enum subject subject;
	enum dns_type hosts; /* of check_*_{a,mx,ns}_access */
};

struct rule_list {
	struct rule *rules;
	size_t count;
	struct origin origin;
};

/* One item of a list. */
struct rule {
	const struct rule_type *type;
	struct str text; /* as written, with warn_if_reject and its argument */
	struct str argument;
	struct origin origin;
	bool is_warn_only;                                                     /* behind warn_if_reject */
	bool searches_key_only, searches_key_first, searches_certificate_only; /* search_order of check_ccert_access */
	union {
		struct table *table;
		const struct rule_list *list; /* of a restriction class */
		int64_t number;
		struct dnsbl *dnsbl;
		struct policy_service *service;
		struct str complaint; /* of a rule that cannot work: the warning at run time */
	};
};

struct policy {
	const struct view *view;
	const struct params *params;
	struct router *router;
	struct arena arena; /* rules and their texts */
	struct rule_list lists[LIST_COUNT];
	struct map tables;   /* "type:name" to struct table */
	struct map classes;  /* name to struct rule_list */
	struct map services; /* argument to struct policy_service */
	struct match_list *mynetworks;
	struct match_list *own_addresses;
	struct match_list *proxy_addresses; /* proxy_interfaces */
	struct match_list *backup_networks; /* NULL when permit_mx_backup_networks is empty */
	struct match_list *logged_permits;  /* NULL when smtpd_log_access_permit_actions is empty */
	struct maps *login_owners;          /* smtpd_sender_login_maps */
	struct maps *certificates;          /* relay_clientcerts */
	struct maps *dnsbl_replies;         /* rbl_reply_maps */
	bool has_parent_keys;               /* smtpd_access_maps is in parent_domain_matches_subdomains */
	struct str *warnings;
	size_t warning_count;
	policy_record_fn *record;
	void *record_arg;
};

/* One list, or several at RCPT, being run for one session. */
struct run {
	struct policy *p;
	struct policy_session *s;
	struct policy_action *act;
	enum policy_list list;
	const char *stage; /* "RCPT" ..., for policy servers */
	unsigned depth;
	bool is_warn_only;
	bool is_recipient_checked; /* reject_unlisted_* has been asked already */
	bool is_sender_checked;
	struct reply reply; /* once the verdict is REJECT */
	struct policy_deferral defer_if_permit, defer_if_reject;
	bool has_recipient_route, has_sender_route;
	struct route recipient_route, sender_route;
	struct buf why;    /* for errors of the layers below */
	struct str reason; /* for the record, of the rule that runs now */
};

/* --- the language: policy_parse.c, rule_names.c -------------------------------------- */

/* NULL for a name that Postfix does not know. */
const struct rule_type *rule_type_find(struct str name);
extern const struct rule_type rule_type_class;   /* a restriction class */
extern const struct rule_type rule_type_unknown; /* warns, then 451 4.3.5 */
extern const struct rule_type rule_type_broken;  /* the same with a complaint of its own */

/* Parses the list parameter `name`. -EINVAL, or what opening a table says; *why gets file:line and words. */
[[nodiscard]] int policy_parse_parameter(struct policy *p, enum policy_list list, struct str name, struct rule_list *ret_list,
                                         struct buf *why);
/* Reads all classes for all lists: a table's result may name any of them when it is too late to open tables. */
[[nodiscard]] int policy_parse_classes(struct policy *p, struct buf *why);
/* The restriction names of a table's result, without tables; rules lie in `a`. */
void policy_parse_result(struct policy *p, enum policy_list list, struct str text, struct arena *a, struct rule_list *ret_list);
/* Is there a rule in it that keeps relaying in check? */
bool policy_guards_relay(const struct rule_list *list);
[[nodiscard]] int policy_open_table(struct policy *p, struct str spec, struct table **ret_table, struct buf *why);

/* --- running: policy_run.c ------------------------------------------------------------ */

enum verdict run_list(struct run *r, const struct rule_list *list) WAITS;

/* Refuses: "<name>: class rejected: text" about a subject, or any text. The dsn's class follows the code. */
enum verdict run_reject_subject(struct run *r, enum subject about, int code, struct dsn_code dsn, struct str text);
enum verdict run_reject(struct run *r, int code, struct dsn_code dsn, const char *fmt, ...) PRINTF_LIKE(4, 5);
/* Refusals that warn_if_reject does not soften. */
enum verdict run_server_error(struct run *r);
enum verdict run_table_error(struct run *r, enum subject about);
enum verdict run_resolver_error(struct run *r, enum subject about);
/* Permits, with a line in the log where smtpd_log_access_permit_actions wants one. `from` is a table or empty. */
enum verdict run_permit(struct run *r, struct str action, enum subject about, struct str from);
/* Arms defer_if_permit or defer_if_reject, or only warns under warn_if_reject. */
enum verdict run_defer_if_permit(struct run *r, enum subject about, int code, struct dsn_code dsn, struct str text);
enum verdict run_defer_if_reject(struct run *r, enum subject about, int code, struct dsn_code dsn, struct str text);
/* A reject that the operator may want to be a deferral: *_tempfail_action. */
enum verdict run_tempfail(struct run *r, struct str action, enum subject about, int code, struct dsn_code dsn, struct str text);

/* What the list's own rules (reject, defer ...) are about. */
enum subject run_subject(const struct run *r);
struct str subject_name(struct run *r, enum subject about);
const char *subject_class(enum subject about);

void run_note(struct run *r, enum policy_note_kind kind, struct str word, const char *fmt, ...) PRINTF_LIKE(4, 5);
/* Words for the record: "found OK for example.com". Costs nothing when nobody records. */
void run_explain(struct run *r, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Where an address goes; asked once a run. Negative when the resolver failed: run_resolver_error(). */
[[nodiscard]] int run_recipient_route(struct run *r, const struct route **ret_route);
[[nodiscard]] int run_sender_route(struct run *r, const struct route **ret_route);

/* --- tables: access_rules.c, access_action.c -------------------------------------------- */

/* One lookup in a rule's table; true when the key was found or the table failed, and then *ret holds. */
struct access {
	struct run *run;
	const struct rule *rule;
	enum subject about;
};
enum key_kind { KEY_WHOLE, KEY_PARTIAL };
bool access_key(struct access *ac, struct str key, enum key_kind kind, enum verdict *ret_verdict) WAITS;
/* The name and its parents; the address and its networks; the mail address and its parts. */
bool access_host_name(struct access *ac, struct str name, enum key_kind kind, enum verdict *ret_verdict) WAITS;
bool access_address(struct access *ac, struct str address, enum key_kind kind, enum verdict *ret_verdict) WAITS;
bool access_mail(struct access *ac, const struct route *route, enum verdict *ret_verdict) WAITS;
/* Does what a result (of a table, or of a policy server) says. `source` and `key` are for warnings. */
enum verdict access_act(struct run *r, struct str source, struct str key, struct str result, enum subject about) WAITS;
/* "5.1.1" about a sender becomes 5.1.7 and the like. */
struct dsn_code access_fix_dsn(struct dsn_code dsn, enum subject about);

/* --- families of rules -------------------------------------------------------------------- */

rule_fn rule_permit, rule_reject, rule_defer, rule_defer_if_permit, rule_defer_if_reject, rule_sleep, rule_class, rule_unknown,
	rule_broken;
rule_fn rule_reject_plaintext_session, rule_reject_unauth_pipelining, rule_reject_multi_recipient_bounce;
rule_fn rule_permit_mynetworks, rule_permit_inet_interfaces, rule_permit_sasl_authenticated, rule_permit_tls_clientcerts,
	rule_permit_tls_all_clientcerts, rule_reject_unknown_client_hostname, rule_reject_unknown_reverse_client_hostname;
rule_fn rule_reject_invalid_helo_hostname, rule_reject_non_fqdn_helo_hostname, rule_reject_unknown_helo_hostname;
rule_fn rule_reject_non_fqdn_address, rule_reject_unknown_address_domain, rule_reject_unlisted_sender,
	rule_reject_unlisted_recipient;
rule_fn rule_login_authenticated, rule_login_unauthenticated, rule_login_known, rule_login_all;
rule_fn rule_permit_mx_backup;
rule_fn rule_permit_auth_destination, rule_reject_unauth_destination, rule_defer_unauth_destination;
rule_fn rule_check_client_access, rule_check_reverse_client_access, rule_check_helo_access, rule_check_mail_access,
	rule_check_etrn_access, rule_check_sasl_access, rule_check_ccert_access, rule_check_hosts_access;
rule_fn rule_reject_rbl_client, rule_permit_dnswl_client, rule_reject_rhsbl, rule_permit_rhswl_client;
rule_fn rule_check_policy_service;

[[nodiscard]] int dnsbl_parse(struct policy *p, struct str argument, struct dnsbl **ret_dnsbl, struct buf *why);
[[nodiscard]] int policy_service_open(struct policy *p, struct str argument, struct policy_service **ret_service,
                                      struct buf *why);
void policy_service_close(struct policy_service *ps);
