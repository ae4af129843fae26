/* SPDX-License-Identifier: Apache-2.0 */
/* Policies and demands of a delivery. */
#include "role/smtp/delivery_policy.h"

#include <errno.h>

#include "base/log.h"
#include "config/params.h"
#include "net/tls.h"
#include "role/smtp/dane.h"
#include "role/smtp/lookup_peer.h"
#include "role/smtp/sts_policy.h"

static bool is_verifying(enum client_tls level)
{
	return level >= CLIENT_TLS_FINGERPRINT;
}

/* --- "TLS-Required: no" -------------------------------------------------------------------- */

/* RFC 8689, 5: the sender would rather have the mail read by others than not delivered. */
static bool is_lax(const struct delivery *d)
{
	return d->envelope.flags & ENVELOPE_TLS_OPTIONAL && !(d->envelope.flags & ENVELOPE_REQUIRETLS) &&
	       d->settings->params->tls_required_enable;
}

/* A password must not go to just anyone, whatever a header says. */
static void relax(const struct delivery *d, struct tls_policy *p)
{
	if (d->settings->sasl_passwords || p->level <= CLIENT_TLS_MAY)
		return;
	p->level = d->settings->tls_wrapper ? CLIENT_TLS_ENCRYPT : CLIENT_TLS_MAY;
	p->match = STR("");
	p->anchor_files = STR("");
	p->enforces_patterns = false;
}

/* --- REQUIRETLS ------------------------------------------------------------------------------ */

/*
 * Where neither DANE nor MTA-STS nor the operator says who the server is, its certificate must name the domain
 * itself: then it does not matter who told us the way there.
 */
static void raise(const struct delivery *d, struct tls_policy *p)
{
	if (d->requiretls == REQUIRETLS_ENFORCE && !is_verifying(p->level)) {
		p->level = CLIENT_TLS_SECURE;
		p->match = d->settings->tls_secure_match;
	} else if (d->requiretls == REQUIRETLS_STARTTLS && p->level < CLIENT_TLS_ENCRYPT) {
		p->level = CLIENT_TLS_ENCRYPT;
	}
}

static int read_demand(struct delivery *d, struct buf *why)
{
	d->requiretls = REQUIRETLS_OPPORTUNISTIC;
	if (!(d->envelope.flags & ENVELOPE_REQUIRETLS) || !d->settings->requiretls)
		return 0;
	return requiretls_policy_find(d->settings->requiretls, d->policy.domain, &d->arena, &d->requiretls, why);
}

/* A handshake that broke may go well the next time; what a server does not offer or is, it will not offer or be then. */
bool delivery_policy_is_unmet(const struct delivery *d, const struct verdict *v)
{
	return d->requiretls != REQUIRETLS_OPPORTUNISTIC && !v->is_tls_handshake && tls_result_is_refusal(d->outcome.result);
}

void delivery_policy_give_up(struct delivery *d)
{
	bool is_probe = d->envelope.flags & ENVELOPE_VERIFY_ONLY;

	for (uint32_t i = 0; i < d->envelope.recipient_count; i++) {
		struct pending *p = &d->recipients[i];
		struct verdict v = p->verdict;

		if (p->is_done || !p->has_verdict)
			continue;
		v.is_permanent = true;
		v.dsn = STR("5.7.30");
		v.text = arena_printf(&d->arena, "REQUIRETLS support required: %.*s", STR_ARG(p->verdict.text));
		delivery_settle(d, i, is_probe ? DELIVERY_UNDELIVERABLE : DELIVERY_BOUNCED, &v, NULL);
	}
}

/* --- reports -------------------------------------------------------------------------------- */

void delivery_policy_report(const struct delivery *d, const struct tls_policy *p, const struct connection *c)
{
	const struct tls_info *info = c ? stream_tls(c->stream) : NULL;

	if (!d->is_reported || d->outcome.result == TLS_RESULT_UNTRIED ||
	    (info && info->is_resumed && d->settings->reports_no_reuse))
		return;
	lookup_peer_report(&d->outcome, p->policy_failure);
}

/* A host that the policy does not name is a session that could not be. */
static void report_unnamed(struct delivery *d, const struct tls_policy *p, struct str host)
{
	d->outcome = (struct tls_outcome){.type = TLS_POLICY_STS,
	                                  .domain = p->domain,
	                                  .policy_domain = p->policy_domain,
	                                  .policy_strings = p->policy_strings,
	                                  .mx_patterns = p->mx_patterns,
	                                  .mx_host = host,
	                                  .result = TLS_RESULT_VALIDATION_FAILURE,
	                                  .reason = STR("the policy does not name this host")};
	delivery_policy_report(d, p, NULL);
}

/* --- all together ---------------------------------------------------------------------------- */

/* Connections with the same key have met the same demands, also those made of each host. */
static void seal(struct delivery *d, struct tls_policy *last)
{
	struct str key = STR("");

	if (last != &d->policy) {
		tls_policy_seal(last, &d->arena);
		key = last->key;
	}
	tls_policy_seal(&d->policy, &d->arena);
	d->policy.key = arena_printf(&d->arena, "%.*s\n%d\n%.*s", STR_ARG(d->policy.key), d->requiretls, STR_ARG(key));
}

static int find_all(struct delivery *d, const struct nexthop *nexthop, struct buf *why)
{
	struct tls_policy *p = &d->policy;
	bool has_domain = !nexthop->has_brackets && !nexthop->path.len;
	int err = tls_policy_find(d->settings, d->tried, &d->arena, p, why);

	if (!err)
		err = read_demand(d, why);
	if (err)
		return err;
	d->is_reported = d->settings->reports_tls && has_domain && !is_lax(d);
	if (is_lax(d))
		relax(d, p);
	if (p->level == CLIENT_TLS_DANE) {
		p = arena_alloc(&d->arena, sizeof(*p));
		*p = d->policy;
		p->level = d->settings->tls_wrapper ? CLIENT_TLS_ENCRYPT : CLIENT_TLS_MAY;
		d->policy.without_dane = p;
	}
	if (!is_lax(d) && has_domain && sts_policy_applies(d->settings, p))
		err = sts_policy_find(p, &d->arena, why);
	raise(d, p);
	seal(d, p);
	return err;
}

/* A policy that cannot be known or understood demands more than we could give. */
static int not_understood(const struct delivery *d, struct buf *why, struct verdict *v)
{
	log_tagged(d->settings->tag, LOG_LEVEL_WARN, "TLS policy for %.*s: %s", STR_ARG(d->tried), buf_cstr(why));
	*v = (struct verdict){.is_site = true, .dsn = STR("4.7.5"), .text = STR("client TLS configuration problem")};
	return -EHOSTUNREACH;
}

int delivery_policy_read(struct delivery *d, const struct nexthop *nexthop, struct verdict *v)
{
	struct buf why = BUF_INIT(4096);
	int err = find_all(d, nexthop, &why);

	if (err && err != -ECANCELED) {
		err = not_understood(d, &why, v);
	} else if (!err && d->requiretls != REQUIRETLS_OPPORTUNISTIC && !d->settings->tls_encrypt &&
	           !d->settings->tls_is_broken) {
		*v = (struct verdict){.is_permanent = true, .dsn = STR("5.7.30")};
		v->text = STR("REQUIRETLS support required, but our TLS client is off");
		err = -EHOSTUNREACH;
	}
	d->has_wanted_tls = !err;
	d->wanted_tls = d->policy.level;
	buf_done(&why);
	return err;
}

int delivery_policy_filter(struct delivery *d, struct target_list *list, struct verdict *v)
{
	size_t kept = 0;

	if (!d->policy.enforces_patterns)
		return 0;
	for (size_t i = 0; i < list->count; i++) {
		const struct target *t = &list->targets[i];

		if (sts_policy_names_host(&d->policy, t->host)) {
			list->targets[kept++] = *t;
			continue;
		}
		report_unnamed(d, &d->policy, t->host);
		log_tagged(d->settings->tag, LOG_LEVEL_INFO, "%s: %.*s is not used: the MTA-STS policy of %.*s does not name it",
		           d->envelope.queue_id, STR_ARG(t->host), STR_ARG(d->policy.domain));
	}
	list->count = kept;
	if (kept)
		return 0;
	*v = (struct verdict){.is_site = true, .dsn = STR("4.7.5")};
	v->text = arena_printf(&d->arena, "no mail host of %.*s is named by its MTA-STS policy", STR_ARG(d->policy.domain));
	return -EHOSTUNREACH;
}

/* TLSA records that nobody can match by, or of a host that anyone may have named, tell no more than that there must be TLS. */
static void raise_unmatched(struct delivery *d, struct connection_wish *wish)
{
	struct tls_policy *p = arena_alloc(&d->arena, sizeof(*p));

	*p = *wish->policy;
	if (d->requiretls == REQUIRETLS_ENFORCE)
		p->level = CLIENT_TLS_ENCRYPT;
	raise(d, p);
	wish->policy = p;
}

static bool enforces_sts(const struct tls_policy *p)
{
	return p->enforces_patterns || (p->without_dane && p->without_dane->enforces_patterns);
}

/* What smtp_tls_per_site says of this host, where that is more than it says of the nexthop. */
static int ask_site(struct delivery *d, struct connection_wish *wish, struct verdict *v)
{
	struct tls_policy *p;
	struct buf why = BUF_INIT(4096);
	int err;

	if (!d->settings->tls_sites || !wish->target || enforces_sts(&d->policy))
		return 0;
	p = arena_alloc(&d->arena, sizeof(*p));
	err = tls_policy_find_for_host(d->settings, d->tried, wish->target->host, &d->arena, p, &why);
	if (err) {
		err = not_understood(d, &why, v);
	} else {
		if (is_lax(d))
			relax(d, p);
		if (p->level != CLIENT_TLS_DANE)
			raise(d, p);
		tls_policy_seal(p, &d->arena);
		if (p->level != d->policy.level)
			wish->policy = p;
	}
	buf_done(&why);
	return err;
}

int delivery_policy_for_host(struct delivery *d, struct connection_wish *wish, struct verdict *v)
{
	bool is_dane;
	int err;

	/* What the host before this one could not do says nothing of this one. */
	d->outcome = (struct tls_outcome){.result = TLS_RESULT_UNTRIED};
	d->host_policy = NULL;
	err = ask_site(d, wish, v);
	is_dane = wish->policy->level == CLIENT_TLS_DANE || wish->policy->level == CLIENT_TLS_DANE_ONLY;
	d->wanted_tls = wish->policy->level;
	if (err || !is_dane)
		return err;
	err = dane_find(wish, &d->arena, v);
	if (err == -EHOSTUNREACH)
		delivery_policy_report(d, wish->policy, NULL);
	if (err)
		return err;
	/* Half of DANE is none (RFC 8461, 2), and with records that nobody can match by it verifies nothing. */
	if (wish->policy->dane && (wish->policy->dane->is_half || !wish->policy->dane->count) && d->policy.without_dane &&
	    d->policy.without_dane->enforces_patterns)
		wish->policy = d->policy.without_dane;
	if (wish->policy->dane && (wish->policy->level == CLIENT_TLS_ENCRYPT || wish->policy->dane->is_half))
		raise_unmatched(d, wish);
	if (!wish->target || !wish->policy->enforces_patterns || sts_policy_names_host(wish->policy, wish->target->host))
		return 0;
	report_unnamed(d, wish->policy, wish->target->host);
	*v = (struct verdict){.is_site = true, .dsn = STR("4.7.5"), .mta = wish->target->host};
	v->text = arena_printf(&d->arena, "mail host %.*s is not named by the MTA-STS policy of %.*s",
	                       STR_ARG(wish->target->host), STR_ARG(d->policy.domain));
	return -EHOSTUNREACH;
}
