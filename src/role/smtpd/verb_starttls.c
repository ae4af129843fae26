/* SPDX-License-Identifier: Apache-2.0 */
/* STARTTLS, and TLS from the first byte. */
#include "clients.h"
#include "config/params.h"
#include "net/tls.h"
#include "process/tls_trace.h"
#include "table/table.h"
#include "verbs.h"

enum { FINGERPRINT_MAX = 1000 };

static void write_log(void *arg, const char *line)
{
	session_log(arg, "%s", line);
}

static void send_trace(void *arg, struct str text)
{
	const struct session *s = arg;

	tls_trace_send("smtpd", s->facts.client_address, text);
}

/* smtpd_tls_loglevel, unless smtpd_tls_loglevel_maps says something of this client's name or address. */
static unsigned log_parts(struct session *s)
{
	const struct policy_session *f = &s->facts;
	struct str level = s->port->view->params->smtpd_tls_loglevel, value;
	struct buf why = BUF_INIT(500);
	bool is_good;

	if (!maps_find(s->port->tls_loglevel_maps, f->client_name, false, &s->arena, &value, &why) ||
	    !maps_find(s->port->tls_loglevel_maps, f->client_address, false, &s->arena, &value, &why))
		level = value;
	if (why.len)
		session_warn(s, "smtpd_tls_loglevel_maps: %s", buf_cstr(&why));
	buf_done(&why);
	return tls_log_parse(level, &is_good);
}

static void begin_log(struct session *s)
{
	const struct params *p = s->port->view->params;

	s->tls_log =
		(struct tls_log){.parts = log_parts(s), .peer = s->name, .write = write_log, .take_trace = send_trace, .arg = s};
	if (s->tls_log.parts & TLS_LOG_TRACE && p->smtpd_tls_trace_size_limit > 0 && tls_trace_may_begin(p))
		s->tls_log.trace_limit = (size_t)p->smtpd_tls_trace_size_limit;
	if (s->tls_log.parts & ~(unsigned)TLS_LOG_SUMMARY)
		stream_set_tls_log(s->stream, &s->tls_log);
}

static void log_peer(struct session *s, const struct tls_info *info)
{
	const struct policy_session *f = &s->facts;

	if (s->tls_log.parts & TLS_LOG_PEERCERT)
		session_log(s, "%.*s: subject_CN=%.*s, issuer=%.*s, fingerprint=%.*s, pkey_fingerprint=%.*s", STR_ARG(s->name),
		            STR_ARG(info->peer_cn), STR_ARG(info->peer_issuer_cn), STR_ARG(f->ccert_fingerprint),
		            STR_ARG(f->ccert_pubkey_fingerprint));
}

static void log_summary(struct session *s, const struct tls_info *info)
{
	struct buf text = BUF_INIT(1000);
	const char *trust = !info->has_peer_certificate ? "Anonymous" : info->is_peer_trusted ? "Trusted" : "Untrusted";

	if (s->tls_log.parts & TLS_LOG_SUMMARY) {
		tls_info_summary(&text, info);
		session_log(s, "%s TLS connection %s from %.*s%s%.*s: %s", trust, info->is_resumed ? "reused" : "established",
		            STR_ARG(s->name), info->sni.len ? " to " : "", STR_ARG(info->sni), buf_cstr(&text));
	}
	buf_done(&text);
}

/* The name is the client's: one that is none may hold anything. */
static void log_sni(struct session *s)
{
	struct str name;
	enum tls_sni_fate fate = stream_tls_sni(s->stream, &name);
	char *shown = str_cstr(name);

	for (char *c = shown; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	if (fate == TLS_SNI_UNKNOWN)
		session_log(s, "TLS SNI %s from %.*s not matched, using default chain", shown, STR_ARG(s->name));
	else if (fate == TLS_SNI_INVALID)
		session_warn(s, "TLS SNI from %.*s is invalid: %s", STR_ARG(s->name), shown);
	else if (fate == TLS_SNI_BROKEN)
		session_warn(s, "error loading private keys and certificates from: SNI data for %s: aborting TLS handshake",
		             shown);
	free(shown);
}

/* All that was said in clear is forgotten: RFC 3207, 4.2. */
static void forget_clear_session(struct session *s)
{
	struct policy_session *f = &s->facts;

	session_reset(s);
	f->helo = f->sasl_method = f->sasl_username = STR("");
	f->is_esmtp = false;
	f->helo_deferral = (struct policy_deferral){0};
}

/* smtpd_tls_req_ccert: who shows no certificate that we trust has to leave. */
static bool has_needed_certificate(struct session *s, const struct tls_info *info)
{
	const struct params *p = s->port->view->params;
	const char *lack = !info->has_peer_certificate ? "No client certificate presented" : "Client certificate not trusted";

	if (!p->smtpd_tls_req_ccert || s->port->tls_level != TLS_LEVEL_ENCRYPT || info->is_peer_trusted)
		return true;
	if (info->is_issuer_unknown)
		session_log(s, "certificate verification failed for %.*s: untrusted issuer %.*s", STR_ARG(s->name),
		            STR_ARG(info->peer_issuer_cn));
	else if (info->has_peer_certificate)
		session_log(s, "certificate verification failed for %.*s: %.*s", STR_ARG(s->name), STR_ARG(info->distrust));
	session_log(s, "NOQUEUE: abort: TLS from %.*s: %s", STR_ARG(s->name), lack);
	session_say(s, "421 4.7.1 %.*s Error: %s", STR_ARG(p->myhostname), lack);
	s->end = END_QUIET;
	return false;
}

static struct str fingerprint_of(struct session *s, bool is_of_key)
{
	struct buf text = BUF_INIT(FINGERPRINT_MAX);
	struct str kept;

	tls_peer_fingerprint(&text, s->stream, s->port->view->params->smtpd_tls_fingerprint_digest, is_of_key);
	kept = text.len ? arena_str(&s->arena, buf_str(&text)) : STR("");
	buf_done(&text);
	return kept;
}

bool starttls_handshake(struct session *s)
{
	const struct params *p = s->port->view->params;
	struct policy_session *f = &s->facts;
	const struct tls_info *info;
	const char *why = "";
	int err = -1;

	bool is_ready = tls_context_is_ready(s->port->tls);

	if (is_ready) {
		/* For all of it, however slowly the client drips. */
		stream_set_timeout(s->stream, p->smtpd_starttls_timeout);
		stream_set_deadline(s->stream, clock_deadline(p->smtpd_starttls_timeout));
		begin_log(s);
		err = stream_start_tls_server(s->stream, s->port->tls, &why);
		stream_set_timeout(s->stream, p->smtpd_timeout);
		stream_set_deadline(s->stream, INSTANT_NEVER);
		log_sni(s);
	} else {
		session_warn(s, "Wrapper-mode request dropped from %.*s for service %.*s. TLS context initialization failed.",
		             STR_ARG(s->name), STR_ARG(s->port->view->service->name));
	}
	if (err) {
		if (is_ready)
			session_log(s, "SSL_accept error from %.*s: %s", STR_ARG(s->name), why && why[0] ? why : strerror(-err));
		s->where = s->port->is_wrapped ? "CONNECT" : "STARTTLS";
		s->end = END_LOST;
		return false;
	}
	info = stream_tls(s->stream);
	f->has_tls = true;
	f->tls_protocol = info->protocol;
	f->tls_cipher = info->cipher;
	f->tls_cipher_bits = info->cipher_bits;
	f->tls_sni = info->sni;
	f->is_ccert_trusted = info->has_peer_certificate && info->is_peer_trusted;
	f->ccert_subject = info->peer_cn;
	f->ccert_issuer = info->peer_issuer_cn;
	f->ccert_fingerprint = fingerprint_of(s, false);
	f->ccert_pubkey_fingerprint = fingerprint_of(s, true);
	if (info->has_peer_certificate)
		log_peer(s, info);
	log_summary(s, info);
	return has_needed_certificate(s, info);
}

void verb_starttls(struct session *s, struct str argument)
{
	if (argument.len > 0) {
		session_say(s, "501 5.5.4 Syntax: STARTTLS");
	} else if (stream_tls(s->stream)) {
		session_say(s, "554 5.5.1 Error: TLS already active");
	} else if (!session_offers_tls(s)) {
		session_say(s, "502 5.5.1 Error: command not implemented");
	} else if (!tls_context_is_ready(s->port->tls)) {
		session_say(s, "454 4.7.0 TLS not available due to local problem");
	} else if (clients_exceed(s, CLIENT_STARTS_TLS)) {
		session_say(s, "454 4.7.0 Error: too many new TLS sessions from %.*s", STR_ARG(s->facts.client_address));
	} else {
		/* Nothing that came in clear behind STARTTLS is ever read. */
		(void)stream_discard_input(s->stream);
		session_say(s, "220 2.0.0 Ready to start TLS");
		forget_clear_session(s);
		if (s->end == END_NOT_YET && !stream_flush(s->stream))
			(void)starttls_handshake(s);
	}
}
