/* SPDX-License-Identifier: Apache-2.0 */
/* HELO and EHLO: who the client says it is, and what we offer. */
#include "base/utf8.h"
#include "config/params.h"
#include "net/tls.h"
#include "sasl/server.h"
#include "table/table.h"
#include "verbs.h"

struct str harmless_name(struct arena *a, struct str name)
{
	char *copy = arena_cstr(a, name);

	text_neutralize(copy, name.len, NAME_UNWANTED);
	return str_n(copy, name.len);
}

/* True when the name was taken. */
static bool take_name(struct session *s, struct str name, bool is_esmtp)
{
	const char *stage = is_esmtp ? "EHLO" : "HELO";
	struct policy_action act = {0};
	struct reply r;

	if (name.len == 0) {
		session_say(s, "501 Syntax: %s hostname", stage);
		return false;
	}
	session_reset(s);
	arena_reset(&s->helo_arena);
	s->facts.helo_deferral = (struct policy_deferral){0};
	s->facts.arena = &s->helo_arena;
	s->facts.helo = harmless_name(&s->helo_arena, name);
	s->facts.is_esmtp = is_esmtp;
	r = policy_check_helo(s->port->policy, &s->facts, &act);
	session_log_notes(s, stage, &act);
	if (act.is_hangup)
		s->end = END_QUIET;
	else if (r.code)
		session_reject(s, stage, &r);
	if (r.code)
		s->facts.helo = STR("");
	return !r.code && !act.is_hangup;
}

void verb_helo(struct session *s, struct str argument)
{
	if (take_name(s, argument, false))
		session_say(s, "250 %.*s", STR_ARG(s->port->view->params->myhostname));
}

static bool is_in(struct match_list *l, struct str address)
{
	struct buf why = BUF_INIT(500);
	int found = match_list_check(l, address, &why);

	buf_done(&why);
	return found > 0;
}

static void offer_auth(struct session *s, struct buf *to)
{
	const struct params *p = s->port->view->params;
	struct sasl_peer peer;
	struct arena a = ARENA_INIT;
	const char *why;
	struct str mechanisms;

	if (!p->smtpd_sasl_auth_enable || session_needs_tls(s))
		return;
	auth_peer(s, &a, &peer);
	mechanisms = sasl_server_mechanisms(s->port->sasl, &peer, &a, &why);
	if (!mechanisms.len && sasl_server_is_down(s->port->sasl))
		session_warn(s, "%.*s: AUTH is not offered: %s", STR_ARG(s->name), why);
	if (mechanisms.len > 0 && !(s->discarded_keywords & EHLO_AUTH)) {
		buf_addf(to, "AUTH %.*s\n", STR_ARG(mechanisms));
		if (p->broken_sasl_auth_clients)
			buf_addf(to, "AUTH=%.*s\n", STR_ARG(mechanisms));
	}
	arena_done(&a);
}

static void offer(const struct session *s, struct buf *to, unsigned keyword, struct str line)
{
	if (s->discarded_keywords & keyword)
		return;
	buf_add(to, line);
	buf_add_char(to, '\n');
}

bool session_offers_requiretls(const struct session *s)
{
	return s->port->view->params->requiretls_enable && stream_tls(s->stream) && !(s->discarded_keywords & EHLO_REQUIRETLS);
}

/* What is offered, in Postfix's order, one a line. */
static void list_keywords(struct session *s, struct buf *to)
{
	const struct params *p = s->port->view->params;

	offer(s, to, EHLO_PIPELINING, STR("PIPELINING"));
	if (!(s->discarded_keywords & EHLO_SIZE)) {
		if (p->message_size_limit > 0)
			buf_addf(to, "SIZE %lld\n", (long long)p->message_size_limit);
		else
			buf_add(to, STR("SIZE\n"));
	}
	if (!p->disable_vrfy_command)
		offer(s, to, EHLO_VRFY, STR("VRFY"));
	offer(s, to, EHLO_ETRN, STR("ETRN"));
	if (session_offers_tls(s) && !stream_tls(s->stream))
		buf_add(to, STR("STARTTLS\n"));
	offer_auth(s, to);
	if (is_in(s->port->xclient_hosts, s->facts.client_address))
		offer(s, to, EHLO_XCLIENT, STR("XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT"));
	if (is_in(s->port->xforward_hosts, s->facts.client_address))
		offer(s, to, EHLO_XFORWARD, STR("XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT"));
	offer(s, to, EHLO_ENHANCED, STR("ENHANCEDSTATUSCODES"));
	offer(s, to, EHLO_8BITMIME, STR("8BITMIME"));
	offer(s, to, EHLO_DSN, STR("DSN"));
	if (p->smtputf8_enable)
		offer(s, to, EHLO_SMTPUTF8, STR("SMTPUTF8"));
	offer(s, to, EHLO_CHUNKING, STR("CHUNKING"));
	if (session_offers_requiretls(s))
		buf_add(to, STR("REQUIRETLS\n"));
}

void verb_ehlo(struct session *s, struct str argument)
{
	struct buf lines = BUF_INIT(4000);
	struct reply r = {.code = 250};

	if (!take_name(s, argument, true))
		return;
	buf_addf(&lines, "%.*s\n", STR_ARG(s->port->view->params->myhostname));
	list_keywords(s, &lines);
	if (s->discarded_keywords && !(s->discarded_keywords & EHLO_SILENT))
		session_log(s, "discarding EHLO keywords: %.*s", STR_ARG(s->port->view->params->smtpd_discard_ehlo_keywords));
	r.text = str_cut(buf_str(&lines), 0, lines.len - 1);
	session_say_reply(s, &r);
	buf_done(&lines);
}
