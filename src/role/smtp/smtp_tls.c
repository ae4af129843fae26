/* SPDX-License-Identifier: Apache-2.0 */
/* The handshake with a server and the look at its certificate. */
#include "role/smtp/smtp_tls.h"

#include <errno.h>

#include "base/log.h"
#include "config/params.h"
#include "net/ip.h"
#include "net/tls.h"
#include "net/tls_settings.h"
#include "process/tls_trace.h"
#include "role/smtp/dane.h"
#include "role/smtp/sts_policy.h"
#include "table/table.h"

enum { CIPHERS_MAX = 8192 };

/* One word of a match list as the name to look for. */
static struct str match_name(const struct connection *c, const struct tls_policy *p, struct str word, struct arena *a)
{
	if (str_eq_nocase(word, STR("hostname")))
		return str_of(c->host);
	if (str_eq_nocase(word, STR("nexthop")))
		return p->domain;
	return str_eq_nocase(word, STR("dot-nexthop")) ? arena_printf(a, ".%.*s", STR_ARG(p->domain)) : word;
}

static bool has_match(const struct connection *c, const struct tls_policy *p, struct arena *a)
{
	const struct smtp_settings *s = c->settings;
	struct str rest = p->match, item;

	while (tls_match_next(p, &rest, &item)) {
		bool has = p->level == CLIENT_TLS_FINGERPRINT
		                   ? tls_peer_has_fingerprint(c->stream, s->tls_digest, item)
		                   : tls_peer_has_name(c->stream, match_name(c, p, item, a),
		                                       s->params->tls_wildcard_matches_multiple_labels);

		if (has)
			return true;
	}
	return false;
}

/* Is the server who the policy asks for? A fingerprint is enough by itself; a name counts only under a trusted chain. */
static bool is_verified(const struct connection *c, const struct tls_policy *p, struct arena *a)
{
	const struct tls_info *info = stream_tls(c->stream);

	/* OpenSSL has compared everything: keys, names, dates. */
	if (p->level == CLIENT_TLS_DANE)
		return info->has_peer_certificate && info->is_peer_trusted;
	if (!info->has_peer_certificate || (p->level != CLIENT_TLS_FINGERPRINT && !info->is_peer_trusted))
		return false;
	return has_match(c, p, a);
}

void smtp_tls_log(const struct connection *c, const struct tls_policy *p, bool is_kept)
{
	const struct tls_info *info = stream_tls(c->stream);
	bool is_half = p->dane && p->dane->is_half;
	const char *word = c->is_verified && !is_half   ? "Verified"
	                   : info->is_peer_trusted      ? "Trusted"
	                   : info->has_peer_certificate ? "Untrusted"
	                                                : "Anonymous";
	struct buf line = BUF_INIT(4096);

	/* DANE has no name to tell beyond the host's own. */
	if (info->sni.len && !p->dane)
		buf_addf(&line, " to %.*s", STR_ARG(info->sni));
	buf_addf(&line, ": ");
	tls_info_summary(&line, info);
	log_tagged(c->settings->tag, LOG_LEVEL_INFO, "%s TLS connection %s to %s%s", word, is_kept ? "reused" : "established",
	           c->relay, buf_cstr(&line));
	buf_done(&line);
}

static enum tls_result result_of(const struct tls_info *info, const struct tls_policy *p)
{
	if (p->level == CLIENT_TLS_FINGERPRINT)
		return TLS_RESULT_VALIDATION_FAILURE;
	if (info->is_peer_trusted)
		return TLS_RESULT_HOST_MISMATCH;
	if (info->is_peer_misnamed)
		return TLS_RESULT_HOST_MISMATCH;
	return info->is_peer_expired ? TLS_RESULT_EXPIRED : TLS_RESULT_NOT_TRUSTED;
}

/* What an MTA-STS policy in testing would have said; the mail goes on whatever it is. */
static void test_sts(const struct connection *c, const struct connection_wish *wish, struct arena *a)
{
	const struct tls_info *info = stream_tls(c->stream);
	struct tls_outcome *o = wish->outcome;

	if (!sts_policy_names_host(wish->policy, str_of(c->host))) {
		o->result = TLS_RESULT_VALIDATION_FAILURE;
		o->reason = STR("the policy does not name this host");
	} else if (!info->is_peer_trusted) {
		o->result = result_of(info, wish->policy);
		o->reason = arena_str(a, info->distrust);
	} else if (!tls_peer_has_name(c->stream, str_of(c->host), false)) {
		o->result = TLS_RESULT_HOST_MISMATCH;
	}
	if (o->result != TLS_RESULT_SUCCESS)
		log_tagged(c->settings->tag, LOG_LEVEL_INFO, "MTA-STS policy of %.*s, in testing, would not allow %s: %s %.*s",
		           STR_ARG(wish->policy->domain), c->relay, tls_result_name(o->result), STR_ARG(o->reason));
}

/* Whose certificate it is, and what of the session. */
static void log_peer(const struct connection *c)
{
	const struct tls_info *info = stream_tls(c->stream);
	struct buf of_certificate = BUF_INIT(1000), of_key = BUF_INIT(1000);

	if (c->tls_log.parts & TLS_LOG_CACHE && info->is_resumed)
		log_tagged(c->settings->tag, LOG_LEVEL_INFO, "%s: Reusing old session", c->relay);
	if (c->tls_log.parts & TLS_LOG_PEERCERT && info->has_peer_certificate) {
		tls_peer_fingerprint(&of_certificate, c->stream, c->settings->tls_digest, false);
		tls_peer_fingerprint(&of_key, c->stream, c->settings->tls_digest, true);
		log_tagged(c->settings->tag, LOG_LEVEL_INFO,
		           "%s: subject_CN=%.*s, issuer_CN=%.*s, fingerprint=%s, pkey_fingerprint=%s", c->relay,
		           STR_ARG(info->peer_cn), STR_ARG(info->peer_issuer_cn), buf_cstr(&of_certificate), buf_cstr(&of_key));
	}
	buf_done(&of_certificate);
	buf_done(&of_key);
}

static int verify(struct connection *c, const struct connection_wish *wish, struct arena *a, struct verdict *v)
{
	const struct tls_policy *p = wish->policy;
	const struct tls_info *info = stream_tls(c->stream);
	bool is_asked = p->level > CLIENT_TLS_ENCRYPT;
	bool is_ours = is_asked && is_verified(c, p, a);
	bool is_chain = p->level != CLIENT_TLS_FINGERPRINT && !info->is_peer_trusted, is_dane = p->level == CLIENT_TLS_DANE;

	c->is_verified = is_ours && !(p->dane && p->dane->is_half);
	log_peer(c);
	if (c->tls_log.parts & TLS_LOG_SUMMARY)
		smtp_tls_log(c, p, false);
	wish->outcome->result = !is_asked || is_ours ? TLS_RESULT_SUCCESS : result_of(info, p);
	if (!is_asked && p->dane && !p->dane->is_half)
		wish->outcome->result = TLS_RESULT_TLSA_INVALID;
	if (!is_asked && p->is_sts_test)
		test_sts(c, wish, a);
	if (!is_asked || is_ours)
		return 0;
	wish->outcome->reason = arena_str(a, info->distrust);
	if (is_chain && info->distrust.len)
		log_tagged(c->settings->tag, LOG_LEVEL_INFO, "%scertificate verification failed for %s: %.*s",
		           is_dane ? "server " : "", c->relay, STR_ARG(info->distrust));
	v->is_tls_handshake = false;
	v->text = is_chain && !is_dane ? STR("Server certificate not trusted") : STR("Server certificate not verified");
	return -EHOSTUNREACH;
}

static struct str servername(const struct connection *c, const struct tls_policy *p)
{
	struct str name = p->servername;
	struct sockaddr_storage unused;

	if (str_eq_nocase(name, STR("hostname")))
		name = str_of(c->host);
	else if (str_eq_nocase(name, STR("nexthop")))
		name = p->domain;
	return ip_parse(name, 0, &unused) ? name : STR("");
}

/* Where the policy differs from the context. */
static int wish_make(const struct connection *c, const struct tls_policy *p, struct arena *a, struct tls_wish *ret_wish)
{
	struct tls_cipher_wish ciphers = {.is_mandatory = p->level >= CLIENT_TLS_ENCRYPT,
	                                  .is_authenticated = p->level > CLIENT_TLS_ENCRYPT,
	                                  .has_exclude = p->has_exclude,
	                                  .exclude = p->exclude,
	                                  .grade = p->ciphers};
	struct buf text = BUF_INIT(CIPHERS_MAX);
	int err = 0;

	*ret_wish = (struct tls_wish){
		.servername = servername(c, p), .anchor_files = p->anchor_files, .has_versions = p->protocols.len > 0};
	/* A session was good for one server under one policy. What DANE says may be another thing the next time. */
	if (!p->dane) {
		ret_wish->session_time = c->settings->tls_session_time;
		ret_wish->session_key = arena_printf(a, "%p\n%s\n%.*s", (const void *)c->settings, c->relay, STR_ARG(p->key));
	}
	if (p->level == CLIENT_TLS_DANE) {
		ret_wish->servername = ret_wish->tlsa_base = p->dane->base;
		ret_wish->tlsa = p->dane->records;
		ret_wish->tlsa_count = p->dane->count;
		ret_wish->names = p->dane->names;
		ret_wish->is_wildcard_deep = c->settings->params->tls_wildcard_matches_multiple_labels;
	}
	if (p->protocols.len)
		err = tls_protocols_parse(p->protocols, &ret_wish->versions_off, &text);
	buf_reset(&text);
	if (!err && (ciphers.is_authenticated || p->has_exclude || p->ciphers.len)) {
		err = tls_client_ciphers(&text, &ciphers, c->settings->view);
		ret_wish->ciphers = arena_str(a, buf_str(&text));
	}
	buf_done(&text);
	return err;
}

static void write_log(void *arg, const char *line)
{
	const struct connection *c = arg;

	log_tagged(c->settings->tag, LOG_LEVEL_INFO, "%s", line);
}

static void send_trace(void *arg, struct str text)
{
	const struct connection *c = arg;

	tls_trace_send(c->settings->is_lmtp ? "lmtp" : "smtp", str_of(c->traced_address), text);
}

/* smtp_tls_loglevel, unless smtp_tls_loglevel_maps says something of this nexthop, host or address. */
static unsigned log_parts(const struct connection *c, const struct connection_wish *wish, struct arena *a)
{
	char text[IP_TEXT_SIZE] = "";
	struct str address = wish->target ? str_of(ip_format((const struct sockaddr *)&wish->target->address, text)) : STR("");
	struct str keys[] = {wish->nexthop, str_of(c->host), address}, value;
	struct buf why = BUF_INIT(1024);
	unsigned parts = c->settings->tls_log_parts;
	int err = -ENOENT;
	bool is_good;

	for (size_t i = 0; c->settings->tls_log_levels && err == -ENOENT && i < COUNT_OF(keys); i++)
		if (keys[i].len)
			err = maps_find(c->settings->tls_log_levels, keys[i], false, a, &value, &why);
	if (!err)
		parts = tls_log_parse(value, &is_good);
	else if (err != -ENOENT)
		log_tagged(c->settings->tag, LOG_LEVEL_WARN, "smtp_tls_loglevel_maps: %s", buf_cstr(&why));
	buf_done(&why);
	return parts;
}

static void begin_log(struct connection *c, const struct connection_wish *wish, struct arena *a)
{
	const struct smtp_settings *s = c->settings;

	c->tls_log = (struct tls_log){
		.parts = log_parts(c, wish, a), .peer = str_of(c->relay), .write = write_log, .take_trace = send_trace, .arg = c};
	if (c->tls_log.parts & TLS_LOG_TRACE && s->tls_trace_limit > 0 && tls_trace_may_begin(s->params)) {
		c->tls_log.trace_limit = (size_t)s->tls_trace_limit;
		if (wish->target)
			ip_format((const struct sockaddr *)&wish->target->address, c->traced_address);
		else
			snprintf(c->traced_address, sizeof(c->traced_address), "local");
	}
	if (c->tls_log.parts & ~(unsigned)TLS_LOG_SUMMARY)
		stream_set_tls_log(c->stream, &c->tls_log);
}

int smtp_tls_start(struct connection *c, const struct connection_wish *wish, struct arena *a, struct verdict *v)
{
	const struct tls_policy *p = wish->policy;
	struct tls_context *ctx = p->level >= CLIENT_TLS_ENCRYPT ? c->settings->tls_encrypt : c->settings->tls_may;
	struct tls_wish tls;
	const char *why;
	int err;

	*v = (struct verdict){.is_site = true, .is_tls_handshake = true, .dsn = STR("4.7.5")};
	v->relay = arena_str(a, str_of(c->relay));
	v->mta = arena_str(a, str_of(c->host));
	if (!ctx || wish_make(c, p, a, &tls)) {
		v->text = STR("TLS is required, but our TLS engine is unavailable");
		return -EHOSTUNREACH;
	}
	begin_log(c, wish, a);
	stream_set_timeout(c->stream, c->settings->starttls_timeout);
	err = stream_start_tls_client(c->stream, ctx, &tls, &why);
	if (err == -ECANCELED)
		return err;
	if (!err)
		return verify(c, wish, a, v);
	wish->outcome->result = TLS_RESULT_VALIDATION_FAILURE;
	wish->outcome->reason = arena_str(a, str_of(why));
	log_tagged(c->settings->tag, LOG_LEVEL_INFO, "SSL_connect error to %s: %s", c->relay, why);
	v->text = STR("Cannot start TLS: handshake failure");
	c->is_broken = true;
	return -EHOSTUNREACH;
}
