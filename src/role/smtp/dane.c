/* SPDX-License-Identifier: Apache-2.0 */
/* From a host to the TLSA records that it is held to (RFC 7672, 2.2). */
#include "role/smtp/dane.h"

#include <errno.h>

#include "base/log.h"
#include "config/params.h"
#include "net/dns.h"
#include "net/ip.h"
#include "net/tlsa.h"

enum { LOOKUP_TIMEOUT_S = 60, RECORDS_MAX = 64, TRUST_MIN_S = 1, TRUST_MAX_S = 100, SHOWN_MAX = 67 };

/* What goes on for one host. */
struct search {
	const struct smtp_settings *settings;
	const struct target *target;
	struct arena *arena;
	struct str base;          /* where records were found; empty: nowhere */
	struct dns_answer answer; /* them, or the last that held none */
	struct str reason;        /* for people: why nothing can be found out */
	enum tls_result result;
};

static int lookup_failed(struct search *s, struct str reason, enum tls_result result)
{
	s->reason = reason;
	s->result = result;
	return -EHOSTUNREACH;
}

/* Looks below one name. Records that are not signed are none. */
static int look_at(struct search *s, struct str base)
{
	unsigned port = ip_port((const struct sockaddr *)&s->target->address);
	struct str name = arena_printf(s->arena, "_%u._tcp.%.*s", port, STR_ARG(base));
	int err = dns_lookup(name, DNS_TLSA, duration_s(LOOKUP_TIMEOUT_S), s->arena, &s->answer);
	enum dns_status status = err ? DNS_TRY_AGAIN : s->answer.status;

	if (err == -ECANCELED)
		return err;
	if (status == DNS_FOUND && s->answer.is_secure)
		s->base = base;
	if (status == DNS_FOUND || status == DNS_NO_DATA || status == DNS_NO_NAME)
		return 0;
	log_tagged(s->settings->tag, LOG_LEVEL_WARN, "DANE TLSA lookup problem: %.*s",
	           STR_ARG(err ? STR("no answer came in time") : s->answer.reason));
	return lookup_failed(s, arena_printf(s->arena, "TLSA lookup error for %.*s:%u", STR_ARG(s->target->host), port),
	                     TLS_RESULT_DNSSEC_INVALID);
}

/* A host whose address is not signed may still be an alias that is (RFC 7672, 2.2.2): below its own name records count. */
static int is_alias_secure(struct search *s, bool *ret_is)
{
	struct dns_answer alias;
	int err = dns_lookup(s->target->host, DNS_CNAME, duration_s(LOOKUP_TIMEOUT_S), s->arena, &alias);

	*ret_is = !err && alias.status == DNS_FOUND && alias.is_secure;
	if (err == -ECANCELED)
		return err;
	if (!err && alias.status <= DNS_NO_NAME)
		return 0;
	return lookup_failed(s, arena_printf(s->arena, "CNAME lookup error for %.*s", STR_ARG(s->target->host)),
	                     TLS_RESULT_DNSSEC_INVALID);
}

static int look_for_records(struct search *s)
{
	const struct target *t = s->target;
	bool is_alias = !str_eq_nocase(t->expanded, t->host);
	bool is_worthwhile = t->is_secure || s->settings->dane_forces_lookup;
	struct sockaddr_storage unused;
	int err = 0;

	if (!ip_parse(t->host, 0, &unused))
		return 0;
	if (!is_worthwhile && is_alias)
		err = is_alias_secure(s, &is_worthwhile);
	if (!err && is_worthwhile && is_alias && t->is_secure)
		err = look_at(s, t->expanded);
	if (!err && is_worthwhile && !s->base.len)
		err = look_at(s, t->host);
	return err;
}

/* A certificate under an authority of theirs may name the base domain, or the domain whose mail it takes (RFC 7672, 3.2.2). */
static struct str other_names(const struct search *s, struct str domain)
{
	const struct target *t = s->target;

	if (!t->mx_domain.len)
		return STR("");
	return arena_printf(s->arena, "%.*s %.*s", STR_ARG(domain), STR_ARG(t->mx_domain));
}

static void log_unusable(const struct search *s, struct str rdata, const char *why)
{
	struct buf text = BUF_INIT(1024);
	struct tlsa r;

	if (!tlsa_decode(str_cut(rdata, 0, SHOWN_MAX), &r))
		tlsa_format(&text, &r);
	log_tagged(s->settings->tag, LOG_LEVEL_WARN, "_%u._tcp.%.*s: unusable TLSA RR: %s: %s",
	           ip_port((const struct sockaddr *)&s->target->address), STR_ARG(s->base), buf_cstr(&text), why);
	buf_done(&text);
}

static void read_records(const struct search *s, struct dane *d)
{
	size_t count = size_min(s->answer.count, RECORDS_MAX), decoded = 0;
	struct tlsa *records = arena_alloc(s->arena, (count + 1) * sizeof(*records));
	struct buf text = BUF_INIT(256 << 10);

	for (size_t i = 0; i < count; i++) {
		struct tlsa *r = &records[decoded];
		const char *unusable = "it is too short";

		if (!tlsa_decode(s->answer.records[i].data, r)) {
			tlsa_format(&text, r);
			buf_add_char(&text, '\n');
			unusable = tlsa_unusable(r, &s->settings->tlsa_digests);
			decoded += !unusable;
		}
		if (unusable)
			log_unusable(s, s->answer.records[i].data, unusable);
	}
	d->records = records;
	d->count = tlsa_select(records, decoded, &s->settings->tlsa_digests);
	d->text = arena_str(s->arena, buf_str(&text));
	buf_done(&text);
}

/* Where the MX record is not signed, the parameter says what records of its host are worth. */
static void weaken(const struct smtp_settings *s, struct tls_policy *p, struct dane *d)
{
	d->is_half = true;
	if (!str_eq_nocase(s->dane_insecure_mx, STR("encrypt")))
		return;
	d->count = 0;
	p->level = CLIENT_TLS_ENCRYPT;
}

/* The level that the records make of dane or dane-only. */
static int decide(struct search *s, const struct tls_policy *wanted, struct tls_policy *p)
{
	struct dane *d = arena_alloc(s->arena, sizeof(*d));
	bool is_only = wanted->level == CLIENT_TLS_DANE_ONLY;

	p->level = s->settings->tls_wrapper ? CLIENT_TLS_ENCRYPT : CLIENT_TLS_MAY;
	if (!s->base.len && wanted->without_dane) {
		*p = *wanted->without_dane;
	} else if (s->base.len) {
		*d = (struct dane){.base = s->base, .names = other_names(s, wanted->domain)};
		read_records(s, d);
		p->dane = d;
		p->level = d->count ? CLIENT_TLS_DANE : CLIENT_TLS_ENCRYPT;
		if (!s->target->is_mx_secure)
			weaken(s->settings, p, d);
	}
	if (!is_only || p->level == CLIENT_TLS_DANE)
		return 0;
	return lookup_failed(s, s->base.len ? STR("TLSA records unusable") : STR("no TLSA records found"),
	                     TLS_RESULT_DANE_REQUIRED);
}

/* Connections and sessions that met these demands may serve others with the same. */
static void name_demands(struct tls_policy *p, struct arena *a)
{
	const struct dane *d = p->dane;

	if (d)
		p->key = arena_printf(a, "%.*s\n%d%d%.*s\n%.*s\n%.*s", STR_ARG(p->key), p->level, d->is_half, STR_ARG(d->base),
		                      STR_ARG(d->names), STR_ARG(d->text));
}

/*
 * The first answer that is not signed: does anything validate at all? Asks once for what is known to be signed, and warns
 * when it seems not to be.
 */
static int probe(const struct smtp_settings *s, struct arena *a)
{
	static bool has_probed;
	struct str text = s->params->dnssec_probe, kind = STR("ns"), name = text;
	struct dns_answer answer = {.status = DNS_FAILED};
	enum dns_type type;
	int err;

	if (has_probed || !text.len)
		return 0;
	has_probed = true;
	(void)str_split(text, ':', &kind, &name);
	if (dns_type_parse(kind, &type)) {
		log_warn("dnssec_probe = %.*s: unknown type of record", STR_ARG(text));
		return 0;
	}
	err = dns_lookup(name, type, duration_s(LOOKUP_TIMEOUT_S), a, &answer);
	if (err == -ECANCELED || (!err && answer.is_secure))
		return err;
	log_tagged(s->tag, LOG_LEVEL_WARN, "DNSSEC validation may be unavailable");
	if (!err && answer.status <= DNS_NO_NAME)
		log_tagged(s->tag, LOG_LEVEL_WARN, "reason: dnssec_probe '%.*s' received a response that is not DNSSEC validated",
		           STR_ARG(text));
	else
		log_tagged(s->tag, LOG_LEVEL_WARN, "reason: dnssec_probe '%.*s' received no response: %.*s", STR_ARG(text),
		           STR_ARG(answer.reason));
	return 0;
}

static int search_run(struct search *s, const struct tls_policy *wanted, struct tls_policy *p)
{
	bool is_only = wanted->level == CLIENT_TLS_DANE_ONLY;
	bool is_ignored = !str_eq_nocase(s->settings->dane_insecure_mx, STR("dane")) &&
	                  !str_eq_nocase(s->settings->dane_insecure_mx, STR("encrypt"));
	int err = 0;

	if (s->target && (!s->target->is_mx_secure || !s->target->is_secure))
		err = probe(s->settings, s->arena);
	if (err)
		return err;
	if (s->target && !s->target->is_mx_secure && is_only)
		return lookup_failed(s, STR("non DNSSEC destination"), TLS_RESULT_DANE_REQUIRED);
	if (s->target && (s->target->is_mx_secure || !is_ignored))
		err = look_for_records(s);
	return err ? err : decide(s, wanted, p);
}

int dane_find(struct connection_wish *wish, struct arena *a, struct verdict *v)
{
	struct search s = {.settings = wish->settings, .target = wish->target, .arena = a};
	struct tls_policy *p = arena_alloc(a, sizeof(*p));
	int err;

	*p = *wish->policy;
	err = search_run(&s, wish->policy, p);
	name_demands(p, a);
	p->trust_ends = clock_deadline(duration_s((int64_t)size_min(size_max(s.answer.ttl, TRUST_MIN_S), TRUST_MAX_S)));
	if (!err)
		wish->policy = p;
	if (err != -EHOSTUNREACH)
		return err;
	*v = (struct verdict){.is_site = true, .dsn = STR("4.7.5"), .text = s.reason};
	log_tagged(s.settings->tag, LOG_LEVEL_WARN, "TLS policy lookup for %.*s/%.*s: %.*s", STR_ARG(p->domain),
	           STR_ARG(wish->target ? wish->target->host : p->domain), STR_ARG(s.reason));
	*wish->outcome = (struct tls_outcome){.type = TLS_POLICY_TLSA, .domain = p->domain, .policy_domain = p->domain};
	if (wish->target)
		v->mta = wish->outcome->policy_domain = wish->outcome->mx_host = wish->target->host;
	if (p->dane)
		wish->outcome->policy_strings = p->dane->text;
	wish->outcome->result = s.result;
	wish->outcome->reason = s.reason;
	return err;
}
