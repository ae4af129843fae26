/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists in DNS: reject_rbl_client and reject_rhsbl_* ask whether an address or a name is
 * listed, permit_dnswl_client and permit_rhswl_client whether it is well spoken of.
 *
 * The argument is DOMAIN or DOMAIN=FILTER. A filter is four numbers with dots; each may be a
 * set such as [0..5;9].
 */
#include <errno.h>
#include <netinet/in.h>

#include "config/expand.h"
#include "mail/address.h"
#include "net/ip.h"
#include "policy/host_name.h"
#include "policy/policy_internal.h"

/* Which values an octet may have. */
struct octet_set {
	uint64_t bits[4];
};

struct dnsbl {
	struct str text; /* as configured: "zen.example=127.0.0.[1..4]" */
	struct str domain;
	bool has_filter;
	struct octet_set filter[4];
};

enum { DNS_TIMEOUT_S = 30 };

/* --- the argument ---------------------------------------------------------------------- */

static int take_number(struct str *rest, unsigned *ret_value)
{
	size_t len = 0;
	unsigned value = 0;

	while (len < rest->len && len < 3 && ascii_is_digit(rest->ptr[len]))
		value = value * 10 + (unsigned)(rest->ptr[len++] - '0');
	*rest = str_from(*rest, len);
	*ret_value = value;
	return len > 0 && value <= 255 ? 0 : -EINVAL;
}

static bool take(struct str *rest, struct str what)
{
	if (!str_starts(*rest, what))
		return false;
	*rest = str_from(*rest, what.len);
	return true;
}

static int take_octet(struct str *rest, struct octet_set *set)
{
	bool is_set = take(rest, STR("["));

	do {
		unsigned first, last;

		if (take_number(rest, &first))
			return -EINVAL;
		last = first;
		if (is_set && take(rest, STR("..")) && take_number(rest, &last))
			return -EINVAL;
		if (last < first)
			return -EINVAL;
		for (unsigned v = first; v <= last; v++)
			set->bits[v / 64] |= 1ULL << (v % 64);
	} while (is_set && take(rest, STR(";")));
	return !is_set || take(rest, STR("]")) ? 0 : -EINVAL;
}

static int parse_filter(struct str text, struct octet_set filter[static 4])
{
	for (size_t i = 0; i < 4; i++)
		if ((i && !take(&text, STR("."))) || take_octet(&text, &filter[i]))
			return -EINVAL;
	return str_is_empty(text) ? 0 : -EINVAL;
}

int dnsbl_parse(struct policy *p, struct str argument, struct dnsbl **ret_dnsbl, struct buf *why)
{
	struct dnsbl *b = arena_alloc(&p->arena, sizeof(*b));
	struct str filter;

	*ret_dnsbl = b;
	b->text = arena_str(&p->arena, argument);
	b->has_filter = str_split(b->text, '=', &b->domain, &filter);
	if (!b->has_filter)
		b->domain = b->text;
	if (b->has_filter && parse_filter(filter, b->filter)) {
		buf_addf(why, "%.*s: bad DNS list filter \"%.*s\": write four numbers or sets, such as 127.0.0.[2..4;10]",
		         STR_ARG(argument), STR_ARG(filter));
		return -EINVAL;
	}
	return 0;
}

/* --- asking ------------------------------------------------------------------------------ */

static bool filter_matches(const struct dnsbl *b, const struct dns_answer *answer)
{
	for (size_t i = 0; i < answer->count; i++) {
		const struct dns_record *rec = &answer->records[i];
		bool matches = rec->data.len == 4;

		for (size_t k = 0; k < 4 && matches && b->has_filter; k++) {
			unsigned char v = (unsigned char)rec->data.ptr[k];

			matches = b->filter[k].bits[v / 64] >> (v % 64) & 1;
		}
		if (matches)
			return true;
	}
	return false;
}

/* 1 listed, 0 not, -EAGAIN when DNS does not say. */
static int is_listed(struct run *r, const struct dnsbl *b, struct str query)
{
	struct dns_answer answer = {.status = DNS_TRY_AGAIN};

	if (dns_lookup(query, DNS_A, duration_s(DNS_TIMEOUT_S), r->s->arena, &answer))
		answer.status = DNS_TRY_AGAIN;
	switch (answer.status) {
	case DNS_FOUND:
		run_explain(r, "%.*s is in DNS%s", STR_ARG(query),
		            filter_matches(b, &answer) ? "" : ", but not as the filter wants");
		return filter_matches(b, &answer);
	case DNS_NO_DATA:
	case DNS_NO_NAME:
		run_explain(r, "%.*s is not in DNS", STR_ARG(query));
		return 0;
	default:
		run_note(r, NOTE_WARNING, STR(""), "%.*s: RBL lookup error: %.*s", STR_ARG(query), STR_ARG(answer.reason));
		run_explain(r, "%.*s: DNS does not say", STR_ARG(query));
		return -EAGAIN;
	}
}

/* "1.2.0.192.zen.example"; nibbles for IPv6. Empty for what is no address. */
static struct str address_query(struct run *r, const struct dnsbl *b)
{
	struct sockaddr_storage address;
	struct buf query = BUF_INIT(512);
	struct str result;

	if (ip_parse(r->s->client_address, 0, &address))
		return STR("");
	if (address.ss_family == AF_INET) {
		const unsigned char *v4 = (const unsigned char *)&((struct sockaddr_in *)&address)->sin_addr;

		buf_addf(&query, "%u.%u.%u.%u.", v4[3], v4[2], v4[1], v4[0]);
	} else {
		const unsigned char *v6 = ((struct sockaddr_in6 *)&address)->sin6_addr.s6_addr;

		for (size_t i = 16; i-- > 0;)
			buf_addf(&query, "%x.%x.", v6[i] & 15, v6[i] >> 4);
	}
	buf_add(&query, b->domain);
	result = arena_str(r->s->arena, buf_str(&query));
	buf_done(&query);
	return result;
}

/* --- the reply ----------------------------------------------------------------------------- */

struct reply_context {
	struct run *run;
	const struct dnsbl *dnsbl;
	const char *class;
	struct str what, reason, code;
};

static int reply_name(struct expand *e, struct str name, bool is_test, struct str *ret_value)
{
	const struct reply_context *c = e->context;
	const struct policy_session *s = c->run->s;
	const struct {
		const char *name;
		struct str value;
	} names[] = {
		{"rbl_code", c->code},
		{"rbl_class", str_of(c->class)},
		{"rbl_what", c->what},
		{"rbl_domain", c->dnsbl->domain},
		{"rbl_reason", c->reason},
		{"rbl_txt", c->reason},
		{"client", subject_name(c->run, SUBJECT_CLIENT)},
		{"client_address", s->client_address},
		{"client_name", s->client_name},
		{"reverse_client_name", s->client_reverse_name},
		{"helo_name", s->helo},
		{"sender", s->sender_raw},
		{"sender_name", str_cut(s->sender_raw, 0, str_find_last(s->sender_raw, '@'))},
		{"sender_domain", address_domain(s->sender_raw)},
		{"recipient", s->recipient_raw},
		{"recipient_name", str_cut(s->recipient_raw, 0, str_find_last(s->recipient_raw, '@'))},
		{"recipient_domain", address_domain(s->recipient_raw)},
	};

	for (size_t i = 0; i < COUNT_OF(names); i++)
		if (str_eq(name, str_of(names[i].name))) {
			*ret_value = names[i].value;
			return 0;
		}
	*ret_value = view_get(c->run->p->view, name);
	return 0;
}

/* All TXT records of the name that was listed, joined; empty when there is none. */
static struct str find_reason(struct run *r, struct str query)
{
	struct dns_answer txt;

	if (dns_lookup(query, DNS_TXT, duration_s(DNS_TIMEOUT_S), r->s->arena, &txt) || txt.status != DNS_FOUND || !txt.count)
		return STR("");
	return txt.records[0].data;
}

static struct str find_template(struct run *r, const struct dnsbl *b)
{
	struct str keys[] = {b->text, b->domain};
	struct str template;

	for (size_t i = 0; i < COUNT_OF(keys); i++) {
		buf_reset(&r->why);
		if (!maps_find(r->p->dnsbl_replies, keys[i], false, r->s->arena, &template, &r->why))
			return template;
	}
	return view_get_raw(r->p->view, STR("default_rbl_reply"));
}

static enum verdict reject_listed(struct run *r, const struct dnsbl *b, enum subject about, struct str what, struct str query)
{
	struct reply_context context = {.run = r,
	                                .dnsbl = b,
	                                .class = subject_class(about),
	                                .what = what,
	                                .reason = find_reason(r, query),
	                                .code = arena_printf(r->s->arena, "%d", (int)r->p->params->maps_rbl_reject_code)};
	struct expand e = {.get = reply_name, .context = &context};
	struct buf text = BUF_INIT(4096);
	struct reply reply;
	enum verdict verdict;

	if (expand_text(&e, find_template(r, b), &text) || reply_parse(buf_str(&text), &reply) || reply.code < 400) {
		run_note(r, NOTE_WARNING, STR(""), "%.*s: bad reply template in rbl_reply_maps or default_rbl_reply",
		         STR_ARG(b->text));
		verdict = run_server_error(r);
	} else {
		struct dsn_code dsn = reply.dsn.class_digit ? reply.dsn : DSN((uint16_t)(reply.code / 100), 7, 1);

		verdict = run_reject(r, reply.code, access_fix_dsn(dsn, about), "%.*s", STR_ARG(reply.text));
	}
	buf_done(&text);
	return verdict;
}

/* --- the rules ------------------------------------------------------------------------------ */

/* A rule without its domain is passed over, as in Postfix. */
static bool has_domain(struct run *r, const struct rule *rule)
{
	if (!str_is_empty(rule->dnsbl->domain))
		return true;
	run_note(r, NOTE_WARNING, STR(""), "restriction %s requires domain name argument", rule->type->name);
	return false;
}

enum verdict rule_reject_rbl_client(struct run *r, const struct rule *rule)
{
	struct str query;

	if (!has_domain(r, rule))
		return DUNNO;
	query = address_query(r, rule->dnsbl);
	if (str_is_empty(query) || is_listed(r, rule->dnsbl, query) <= 0)
		return DUNNO;
	return reject_listed(r, rule->dnsbl, SUBJECT_CLIENT, r->s->client_address, query);
}

/* The domain to ask about, and the name for the reply. */
static struct str domain_of(struct run *r, enum subject about, struct str *ret_what)
{
	*ret_what = about == SUBJECT_CLIENT ? r->s->client_name : subject_name(r, about);
	switch (about) {
	case SUBJECT_CLIENT:
	case SUBJECT_REVERSE_CLIENT:
		return str_eq(*ret_what, STR("unknown")) ? STR("") : *ret_what;
	case SUBJECT_HELO:
		return r->s->helo;
	case SUBJECT_SENDER:
		return address_domain(r->s->sender);
	default:
		return address_domain(r->s->recipient);
	}
}

enum verdict rule_reject_rhsbl(struct run *r, const struct rule *rule)
{
	enum subject about = rule->type->subject;
	struct str what, query;
	struct str domain = domain_of(r, about, &what);

	if (!has_domain(r, rule))
		return DUNNO;
	if (str_is_empty(domain) || domain.ptr[0] == '[' || host_address_is_valid(domain)) {
		run_explain(r, "no name to ask about");
		return DUNNO;
	}
	query = arena_printf(r->s->arena, "%.*s.%.*s", STR_ARG(domain), STR_ARG(rule->dnsbl->domain));
	if (is_listed(r, rule->dnsbl, query) <= 0)
		return DUNNO;
	return reject_listed(r, rule->dnsbl, about, what, query);
}

/* A welcome list must not open the relay; when it does not answer, a refusal may be wrong. */
static enum verdict permit_listed(struct run *r, const struct rule *rule, struct str query)
{
	const struct route *route;
	int listed;

	if (!str_is_empty(r->s->recipient)) {
		if (run_recipient_route(r, &route))
			return run_resolver_error(r, SUBJECT_RECIPIENT);
		if (!route_is_authorized(route)) {
			run_explain(r, "never permits relaying");
			return DUNNO;
		}
	}
	listed = is_listed(r, rule->dnsbl, query);
	if (listed < 0)
		return run_defer_if_reject(r, SUBJECT_CLIENT, 450, DSN(4, 7, 1), STR("Temporary lookup failure"));
	return listed ? run_permit(r, str_of(rule->type->name), SUBJECT_CLIENT, STR("")) : DUNNO;
}

enum verdict rule_permit_dnswl_client(struct run *r, const struct rule *rule)
{
	struct str query;

	if (!has_domain(r, rule))
		return DUNNO;
	query = address_query(r, rule->dnsbl);
	return str_is_empty(query) ? DUNNO : permit_listed(r, rule, query);
}

enum verdict rule_permit_rhswl_client(struct run *r, const struct rule *rule)
{
	if (!has_domain(r, rule) || str_eq(r->s->client_name, STR("unknown")))
		return DUNNO;
	return permit_listed(r, rule,
	                     arena_printf(r->s->arena, "%.*s.%.*s", STR_ARG(r->s->client_name), STR_ARG(rule->dnsbl->domain)));
}
