/* SPDX-License-Identifier: Apache-2.0 */
/* The policy of a view: its lists, and which of them run at which stage of a session. */
#include "policy/policy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include "config/machine.h"
#include "policy/policy_internal.h"

static const char *const list_parameters[LIST_COUNT] = {
	[LIST_CLIENT] = "smtpd_client_restrictions",           [LIST_HELO] = "smtpd_helo_restrictions",
	[LIST_SENDER] = "smtpd_sender_restrictions",           [LIST_RELAY] = "smtpd_relay_restrictions",
	[LIST_RECIPIENT] = "smtpd_recipient_restrictions",     [LIST_DATA] = "smtpd_data_restrictions",
	[LIST_END_OF_DATA] = "smtpd_end_of_data_restrictions", [LIST_ETRN] = "smtpd_etrn_restrictions",
};

const char *policy_list_parameter(enum policy_list list)
{
	return list_parameters[list];
}

/* --- making it ------------------------------------------------------------------------- */

/* The addresses of inet_interfaces as a list for match_list_open(). */
static void add_own_addresses(struct policy *p, struct buf *list)
{
	struct str rest = p->params->inet_interfaces;
	struct machine machine;
	struct str item;

	while (str_next(&rest, ", \t\r\n", &item)) {
		if (str_eq_nocase(item, STR("all"))) {
			machine_read(&machine, &p->arena);
			for (size_t i = 0; i < machine.address_count; i++) {
				const struct machine_address *m = &machine.addresses[i];
				char text[INET6_ADDRSTRLEN];

				if (inet_ntop(m->is_v6 ? AF_INET6 : AF_INET, m->bytes, text, sizeof(text)))
					buf_addf(list, m->is_v6 ? "[%s] " : "%s ", text);
			}
		} else if (str_eq_nocase(item, STR("loopback-only")) || str_eq_nocase(item, STR("localhost"))) {
			buf_add(list, STR("127.0.0.1 [::1] "));
		} else if (str_has(item, ':') && item.ptr[0] != '[') {
			buf_addf(list, "[%.*s] ", STR_ARG(item));
		} else if (ascii_is_digit(item.ptr[0]) || item.ptr[0] == '[') {
			buf_addf(list, "%.*s ", STR_ARG(item));
		}
	}
}

static int open_match_list(struct policy *p, struct str name, struct str text, enum match_kind kind, struct match_list **ret_list,
                           struct buf *why)
{
	struct buf inner = BUF_INIT(4096);
	int err = match_list_open(text, kind, 0, p->view, ret_list, &inner);

	if (err)
		buf_addf(why, "%.*s: %s", STR_ARG(name), buf_cstr(&inner));
	buf_done(&inner);
	return err;
}

static int open_maps(struct policy *p, struct str name, struct str text, struct maps **ret_maps, struct buf *why)
{
	struct buf inner = BUF_INIT(4096);
	int err = maps_open(text, TABLE_FOLD, p->view, ret_maps, &inner);

	if (err)
		buf_addf(why, "%.*s: %s", STR_ARG(name), buf_cstr(&inner));
	buf_done(&inner);
	return err;
}

static int open_lists(struct policy *p, struct buf *why)
{
	const struct params *params = p->params;
	struct buf own = BUF_INIT(64 << 10);
	int err = open_match_list(p, STR("mynetworks"), params->mynetworks, MATCH_ADDRESS, &p->mynetworks, why);

	add_own_addresses(p, &own);
	if (!err)
		err = open_match_list(p, STR("inet_interfaces"), buf_str(&own), MATCH_ADDRESS, &p->own_addresses, why);
	buf_done(&own);
	if (!err)
		err = open_match_list(p, STR("proxy_interfaces"), params->proxy_interfaces, MATCH_ADDRESS, &p->proxy_addresses,
		                      why);
	if (!err && !str_is_empty(str_trim(params->permit_mx_backup_networks)))
		err = open_match_list(p, STR("permit_mx_backup_networks"), params->permit_mx_backup_networks, MATCH_ADDRESS,
		                      &p->backup_networks, why);
	if (!err && !str_is_empty(str_trim(params->smtpd_log_access_permit_actions)))
		err = open_match_list(p, STR("smtpd_log_access_permit_actions"), params->smtpd_log_access_permit_actions,
		                      MATCH_STRING, &p->logged_permits, why);
	if (!err)
		err = open_maps(p, STR("smtpd_sender_login_maps"), params->smtpd_sender_login_maps, &p->login_owners, why);
	if (!err)
		err = open_maps(p, STR("relay_clientcerts"), params->relay_clientcerts, &p->certificates, why);
	if (!err)
		err = open_maps(p, STR("rbl_reply_maps"), params->rbl_reply_maps, &p->dnsbl_replies, why);
	return err;
}

static int refuse_open_relay(const struct policy *p, struct buf *why)
{
	struct origin origin = p->lists[LIST_RECIPIENT].origin;

	if (policy_guards_relay(&p->lists[LIST_RELAY]) || policy_guards_relay(&p->lists[LIST_RECIPIENT]))
		return 0;
	if (str_is_empty(origin.file))
		origin = p->lists[LIST_RELAY].origin;
	if (!str_is_empty(origin.file))
		buf_addf(why, "%.*s:%u: ", STR_ARG(origin.file), origin.line);
	buf_add(why, STR("in parameter smtpd_relay_restrictions or smtpd_recipient_restrictions, specify at least one working "
	                 "instance of: "
	                 "reject_unauth_destination, defer_unauth_destination, reject, defer or defer_if_permit; without one, "
	                 "strangers could send mail to anyone through this server. Usual is: smtpd_relay_restrictions = "
	                 "permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination"));
	return -EPERM;
}

static int open_all(struct policy *p, struct buf *why)
{
	int err = open_lists(p, why);

	for (size_t i = 0; i < LIST_COUNT && !err; i++)
		err = policy_parse_parameter(p, (enum policy_list)i, str_of(list_parameters[i]), &p->lists[i], why);
	if (!err)
		err = policy_parse_classes(p, why);
	return err ? err : refuse_open_relay(p, why);
}

int policy_new(const struct view *v, struct router *r, struct policy **ret_policy, struct buf *why)
{
	struct policy *p = mem_alloc(sizeof(*p));
	struct buf words = BUF_INIT(8192); /* the caller's may hold warnings of others */
	int err;

	p->view = v;
	p->params = v->params;
	p->router = r;
	p->has_parent_keys = str_list_has_exactly(p->params->parent_domain_matches_subdomains, STR("smtpd_access_maps"));
	err = open_all(p, &words);
	if (err) {
		buf_add(why, buf_str(&words));
		policy_free(p);
	} else {
		*ret_policy = p;
	}
	buf_done(&words);
	return err;
}

void policy_free(struct policy *p)
{
	size_t at = 0;
	struct str key;
	void *value;

	if (!p)
		return;
	while (map_next(&p->tables, &at, &key, &value))
		table_close(value);
	map_done(&p->tables);
	map_done(&p->classes);
	at = 0;
	while (map_next(&p->services, &at, &key, &value))
		policy_service_close(value);
	map_done(&p->services);
	match_list_close(p->mynetworks);
	match_list_close(p->own_addresses);
	match_list_close(p->proxy_addresses);
	match_list_close(p->backup_networks);
	match_list_close(p->logged_permits);
	maps_close(p->login_owners);
	maps_close(p->certificates);
	maps_close(p->dnsbl_replies);
	arena_done(&p->arena);
	free(p);
}

bool policy_has_changed(const struct policy *p)
{
	size_t at = 0;
	struct str key;
	void *value;

	while (map_next(&p->tables, &at, &key, &value))
		if (table_has_changed(value))
			return true;
	return match_list_has_changed(p->mynetworks) || match_list_has_changed(p->proxy_addresses) ||
	       match_list_has_changed(p->backup_networks) || match_list_has_changed(p->logged_permits) ||
	       maps_have_changed(p->login_owners) || maps_have_changed(p->certificates) || maps_have_changed(p->dnsbl_replies);
}

const char *policy_warning(const struct policy *p, size_t at)
{
	return at < p->warning_count ? p->warnings[at].ptr : NULL;
}

void policy_set_record(struct policy *p, policy_record_fn *fn, void *arg)
{
	p->record = fn;
	p->record_arg = arg;
}

/* --- the stages -------------------------------------------------------------------------- */

static struct run begin(struct policy *p, struct policy_session *s, struct policy_action *act, const char *stage)
{
	act->notes = act->last_note = NULL;
	return (struct run){.p = p, .s = s, .act = act, .stage = stage, .why = BUF_INIT(4096)};
}

static struct reply end(struct run *r, enum verdict verdict)
{
	buf_done(&r->why);
	return verdict == REJECT ? r->reply : (struct reply){0};
}

static enum verdict run_stage_list(struct run *r, enum policy_list list)
{
	r->list = list;
	r->defer_if_reject.is_armed = false;
	return run_list(r, &r->p->lists[list]);
}

/* Asks a rule that no list holds. */
static enum verdict run_implicit(struct run *r, struct str name, struct str parameter)
{
	struct rule rule = {.type = rule_type_find(name), .origin = view_origin(r->p->view, parameter)};
	struct rule_list list = {.rules = &rule, .count = 1};

	rule.text = r->p->record ? arena_printf(r->s->arena, "%.*s (implied)", STR_ARG(name)) : name;
	return run_list(r, &list);
}

static enum verdict client_stage(struct run *r)
{
	return run_stage_list(r, LIST_CLIENT);
}

static enum verdict helo_stage(struct run *r)
{
	return str_is_empty(r->s->helo) ? DUNNO : run_stage_list(r, LIST_HELO);
}

static enum verdict sender_stage(struct run *r)
{
	enum verdict verdict;

	if (!r->s->has_sender)
		return DUNNO;
	verdict = run_stage_list(r, LIST_SENDER);
	if (verdict != REJECT && r->p->params->smtpd_reject_unlisted_sender && !r->is_sender_checked && !r->act->is_discarded &&
	    !r->act->is_hangup)
		verdict = run_implicit(r, STR("reject_unlisted_sender"), STR("smtpd_reject_unlisted_sender"));
	return verdict;
}

/* The stages that smtpd_delay_reject has put off until there is a recipient. */
static enum verdict delayed_stages(struct run *r)
{
	static enum verdict (*const stages[])(struct run * r) = {client_stage, helo_stage, sender_stage};
	enum verdict verdict = DUNNO;

	for (size_t i = 0; i < COUNT_OF(stages) && verdict != REJECT && !r->act->is_discarded && !r->act->is_hangup; i++)
		verdict = stages[i](r);
	return verdict;
}

/* What would be let in is deferred after all, when an earlier trouble may have hidden a reason to refuse. */
static enum verdict apply_deferral(struct run *r, enum verdict verdict)
{
	if (verdict == REJECT || !r->defer_if_permit.is_armed || r->act->is_discarded)
		return verdict;
	r->reply = r->defer_if_permit.reply;
	return REJECT;
}

static bool is_over(const struct run *r, enum verdict verdict)
{
	return verdict == REJECT || r->act->is_discarded || r->act->is_hangup;
}

struct reply policy_check_connect(struct policy *p, struct policy_session *s, struct policy_action *act)
{
	struct run r = begin(p, s, act, "CONNECT");
	enum verdict verdict = DUNNO;

	if (!p->params->smtpd_delay_reject)
		verdict = client_stage(&r);
	s->connect_deferral = r.defer_if_permit;
	return end(&r, verdict);
}

struct reply policy_check_helo(struct policy *p, struct policy_session *s, struct policy_action *act)
{
	struct run r = begin(p, s, act, s->is_esmtp ? "EHLO" : "HELO");
	enum verdict verdict = DUNNO;

	r.defer_if_permit = s->connect_deferral;
	if (!p->params->smtpd_delay_reject)
		verdict = helo_stage(&r);
	s->helo_deferral = r.defer_if_permit;
	return end(&r, verdict);
}

struct reply policy_check_mail(struct policy *p, struct policy_session *s, struct policy_action *act)
{
	struct run r = begin(p, s, act, "MAIL");
	enum verdict verdict = DUNNO;

	r.defer_if_permit = str_is_empty(s->helo) ? s->connect_deferral : s->helo_deferral;
	if (!p->params->smtpd_delay_reject)
		verdict = sender_stage(&r);
	s->mail_deferral = r.defer_if_permit;
	return end(&r, verdict);
}

static enum verdict recipient_lists(struct run *r)
{
	bool relay_first = r->p->params->smtpd_relay_before_recipient_restrictions;
	enum policy_list order[] = {relay_first ? LIST_RELAY : LIST_RECIPIENT, relay_first ? LIST_RECIPIENT : LIST_RELAY};
	enum verdict verdict = run_stage_list(r, order[0]);

	if (!is_over(r, verdict)) {
		r->list = order[1];
		verdict = run_list(r, &r->p->lists[order[1]]);
	}
	return verdict;
}

static struct reply check_recipient(struct policy *p, struct policy_session *s, struct policy_action *act, const char *stage)
{
	struct run r = begin(p, s, act, stage);
	enum verdict verdict = DUNNO;

	/* Everyone can be reached by his postmaster. */
	if (act->is_discarded || str_eq_nocase(s->recipient_raw, STR("postmaster")))
		return end(&r, DUNNO);
	if (p->params->smtpd_delay_reject)
		verdict = delayed_stages(&r);
	else
		r.defer_if_permit = s->mail_deferral;
	if (!is_over(&r, verdict))
		verdict = recipient_lists(&r);
	verdict = apply_deferral(&r, verdict);
	if (!is_over(&r, verdict) && p->params->smtpd_reject_unlisted_recipient && !r.is_recipient_checked)
		verdict = run_implicit(&r, STR("reject_unlisted_recipient"), STR("smtpd_reject_unlisted_recipient"));
	return end(&r, verdict);
}

struct reply policy_check_rcpt(struct policy *p, struct policy_session *s, struct policy_action *act)
{
	return check_recipient(p, s, act, "RCPT");
}

struct reply policy_check_vrfy(struct policy *p, struct policy_session *s, struct policy_action *act)
{
	return check_recipient(p, s, act, "VRFY");
}

static struct reply check_late(struct policy *p, struct policy_session *s, struct policy_action *act, enum policy_list list)
{
	struct run r = begin(p, s, act, list == LIST_DATA ? "DATA" : "END-OF-MESSAGE");
	enum verdict verdict = DUNNO;

	if (!act->is_discarded)
		verdict = apply_deferral(&r, run_stage_list(&r, list));
	return end(&r, verdict);
}

struct reply policy_check_data(struct policy *p, struct policy_session *s, struct policy_action *act)
{
	return check_late(p, s, act, LIST_DATA);
}

struct reply policy_check_end_of_data(struct policy *p, struct policy_session *s, struct policy_action *act)
{
	return check_late(p, s, act, LIST_END_OF_DATA);
}

struct reply policy_check_etrn(struct policy *p, struct policy_session *s, struct str domain, struct policy_action *act)
{
	struct run r = begin(p, s, act, "ETRN");
	enum verdict verdict = DUNNO;

	s->etrn_domain = domain;
	if (p->params->smtpd_delay_reject)
		verdict = client_stage(&r);
	if (p->params->smtpd_delay_reject && !is_over(&r, verdict))
		verdict = helo_stage(&r);
	if (!is_over(&r, verdict))
		verdict = run_stage_list(&r, LIST_ETRN);
	return end(&r, apply_deferral(&r, verdict));
}
