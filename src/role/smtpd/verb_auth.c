/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "clients.h"
#include "config/params.h"
#include "net/tls.h"
#include "sasl/server.h"
#include "verbs.h"

void auth_peer(struct session *s, struct arena *a, struct sasl_peer *ret_peer)
{
	struct buf binding = BUF_INIT(1024);

	*ret_peer = (struct sasl_peer){.has_tls = stream_tls(s->stream),
	                               .client_address = s->facts.client_address,
	                               .client_port = s->facts.client_port,
	                               .server_address = s->facts.server_address,
	                               .server_port = s->facts.server_port};
	if (!tls_channel_binding(s->stream, &binding, &ret_peer->is_exporter))
		ret_peer->binding = arena_str(a, buf_str(&binding));
	buf_done(&binding);
}

static void refuse(struct session *s, const struct sasl_result *r, struct str mechanism)
{
	struct str reason = r->reason.len > 0 ? r->reason : STR("generic failure"),
		   method = r->method.len > 0 ? r->method : mechanism;
	struct str user;

	if (r->status == SASL_ABORTED) {
		session_warn(s, "%.*s: SASL %.*s authentication aborted", STR_ARG(s->name), STR_ARG(method));
		session_say(s, "501 5.7.0 Authentication aborted");
		return;
	}
	user = r->username.len > 0 ? str_cut(r->username, 0, 100) : STR("(unavailable)");
	session_warn(s, "%.*s: SASL %.*s authentication failed: %.*s%s%.*s%s, sasl_username=%.*s", STR_ARG(s->name),
	             STR_ARG(method), STR_ARG(reason), r->detail.len > 0 ? " (" : "", STR_ARG(r->detail),
	             r->detail.len > 0 ? ")" : "", STR_ARG(user));
	if (r->status == SASL_TRY_LATER)
		session_say(s, "454 4.7.0 Temporary authentication failure: %.*s", STR_ARG(reason));
	else
		session_say(s, "535 5.7.8 Error: authentication failed: %.*s", STR_ARG(reason));
}

/* The exchange of challenges and responses. False when the client is gone. */
static bool converse(struct session *s, struct sasl_exchange *x, struct sasl_result *r)
{
	size_t limit = (size_t)s->port->view->params->smtpd_sasl_response_limit;
	struct str line;
	bool is_bare;
	int err;

	while (r->status == SASL_CONTINUE) {
		session_say(s, "334 %.*s", STR_ARG(r->challenge));
		err = s->end == END_NOT_YET ? stream_read_line(s->stream, limit, &line, &is_bare) : -1;
		if (err == -EMSGSIZE) {
			session_say(s, "500 5.5.6 SASL response limit exceeded");
			return false;
		}
		if (err) {
			session_failed(s, err);
			return false;
		}
		s->has_bare_lf |= is_bare;
		sasl_exchange_step(x, line, r);
	}
	return true;
}

static void authenticate(struct session *s, struct str mechanism, struct str initial)
{
	struct sasl_peer peer;
	struct arena a = ARENA_INIT;
	struct sasl_result r = {0};
	struct sasl_exchange *x;

	auth_peer(s, &a, &peer);
	x = sasl_exchange_begin(s->port->sasl, &peer, mechanism, initial, &r);
	arena_done(&a);
	if (converse(s, x, &r)) {
		if (r.status == SASL_OK) {
			s->facts.sasl_method = arena_str(&s->arena, r.method);
			s->facts.sasl_username = arena_str(&s->arena, r.username);
			session_say(s, "235 2.7.0 Authentication successful");
		} else {
			refuse(s, &r, mechanism);
		}
	}
	sasl_exchange_free(x);
}

void verb_auth(struct session *s, struct str argument)
{
	const struct params *p = s->port->view->params;
	struct arena a = ARENA_INIT;
	struct str mechanism, initial = {0};
	size_t blank = str_find_any(argument, " \t");

	if (p->smtpd_helo_required && s->facts.helo.len == 0) {
		session_say(s, "503 5.5.1 Error: send HELO/EHLO first");
	} else if (clients_exceed(s, CLIENT_AUTHENTICATES)) {
		session_say(s, "450 4.7.1 Error: too many AUTH commands from %.*s", STR_ARG(s->facts.client_address));
	} else if (!p->smtpd_sasl_auth_enable || (s->discarded_keywords & EHLO_AUTH)) {
		session_say(s, "503 5.5.1 Error: authentication not enabled");
	} else if (s->tx.has_mail) {
		session_say(s, "503 5.5.1 Error: MAIL transaction in progress");
	} else if ((p->smtpd_tls_auth_only || s->port->tls_level == TLS_LEVEL_ENCRYPT) && !stream_tls(s->stream)) {
		session_say(s, "504 5.5.4 Encryption required for requested authentication mechanism");
	} else if (s->facts.sasl_username.len > 0) {
		session_say(s, "503 5.5.1 Error: already authenticated");
	} else if (argument.len == 0 ||
	           str_find_any(str_trim(str_from(argument, blank)), " \t") < str_trim(str_from(argument, blank)).len) {
		session_say(s, "501 5.5.4 Syntax: AUTH mechanism");
	} else {
		mechanism = arena_str(&a, str_cut(argument, 0, blank));
		if (blank < argument.len)
			initial = arena_str(&a, str_trim(str_from(argument, blank)));
		authenticate(s, mechanism, initial);
		if (initial.len > 0)
			explicit_bzero((char *)(uintptr_t)initial.ptr, initial.len);
	}
	arena_done(&a);
}
