/* SPDX-License-Identifier: Apache-2.0 */
#include "role/smtp/tls_status.h"

#include "role/smtp/dane.h"

enum { STATUS_MAX = 100 };

/* "level" or "level:what it came to". */
static void add_levels(struct buf *to, enum client_tls wanted, const char *got)
{
	buf_addf(to, "%s", tls_level_name(wanted));
	if (got && strcmp(got, tls_level_name(wanted)) != 0)
		buf_addf(to, ":%s", got);
}

/* What DANE made of the level counts, so its two levels are one here. */
static const char *level_got(enum client_tls wanted, enum client_tls got, bool is_half)
{
	if (got == CLIENT_TLS_DANE && is_half)
		return "halfdane";
	return tls_level_name(got == CLIENT_TLS_DANE && wanted == CLIENT_TLS_DANE_ONLY ? wanted : got);
}

/* Was a host turned down for what it is, rather than not reached? */
static bool is_violated(const struct delivery *d, const struct verdict *v)
{
	return !v->is_tls_handshake && d->wanted_tls >= CLIENT_TLS_ENCRYPT && tls_result_is_refusal(d->outcome.result);
}

static void add_failure(struct buf *to, const struct delivery *d, const struct verdict *v)
{
	enum tls_result result = d->outcome.result;
	const struct tls_policy *p = d->host_policy;

	if (is_violated(d, v)) {
		buf_add_char(to, '!');
		add_levels(to, d->wanted_tls,
		           !v->relay.len                                 ? NULL
		           : result == TLS_RESULT_STARTTLS_NOT_SUPPORTED ? "none"
		                                                         : "encrypt");
	} else if (p && !v->is_tls_handshake && (result == TLS_RESULT_SUCCESS || result == TLS_RESULT_TLSA_INVALID)) {
		add_levels(to, d->wanted_tls, level_got(d->wanted_tls, p->level, p->dane && p->dane->is_half));
	} else {
		buf_addf(to, "%s?", tls_level_name(d->wanted_tls));
	}
}

static void add_requiretls(struct buf *to, const struct delivery *d, const struct verdict *v, const struct connection *c)
{
	bool has_it = c && stream_tls(c->stream) && c->ehlo.keywords & EHLO_REQUIRETLS;
	bool is_demanded = d->requiretls == REQUIRETLS_ENFORCE;

	if (!c && !(is_demanded && is_violated(d, v)))
		buf_add(to, STR("/requiretls?"));
	else if (is_demanded)
		buf_add(to, has_it ? STR("/requiretls") : STR("/!requiretls"));
	else if (has_it)
		buf_addf(to, "/requiretls:opportunistic%s", d->requiretls == REQUIRETLS_STARTTLS ? "+starttls" : "");
	else
		buf_add(to, STR("/requiretls:none"));
}

struct str tls_status(struct delivery *d, const struct verdict *v, const struct connection *c)
{
	char place[STATUS_MAX];
	struct buf text;
	struct str kept;

	if (!d->settings || !d->settings->logs_tls_status || !d->has_wanted_tls)
		return STR("");
	buf_init_on(&text, place, sizeof(place), STATUS_MAX);
	if (!c)
		add_failure(&text, d, v);
	else
		add_levels(&text, d->wanted_tls,
		           stream_tls(c->stream) ? level_got(d->wanted_tls, c->tls_level, c->is_half_dane) : "none");
	if (d->envelope.flags & ENVELOPE_REQUIRETLS && d->settings->requiretls)
		add_requiretls(&text, d, v, c);
	kept = arena_str(&d->arena, buf_str(&text));
	buf_done(&text);
	return kept;
}
