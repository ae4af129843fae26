/* SPDX-License-Identifier: Apache-2.0 */
#include "session.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/utf8.h"
#include "clients.h"
#include "config/params.h"
#include "content/content.h"
#include "mail/address.h"
#include "net/dns.h"
#include "smtpd.h"
#include "table/table.h"
#include "verbs.h"

/* Where the client stands before its name is known. */
static void set_addresses(struct session *s, const struct sockaddr_storage *peer)
{
	struct sockaddr_storage own = {0};
	socklen_t size = sizeof(own);
	struct policy_session *f = &s->facts;

	s->peer = *peer;
	f->client_address = str_of(ip_format((struct sockaddr *)&s->peer, s->address));
	snprintf(s->client_port, sizeof(s->client_port), "%u", ip_port((struct sockaddr *)&s->peer));
	f->client_port = str_of(s->client_port);
	if (getsockname(stream_fd(s->stream), (struct sockaddr *)&own, &size) == 0) {
		ip_unmap(&own);
		f->server_address = str_of(ip_format((struct sockaddr *)&own, s->server_address));
		snprintf(s->server_port, sizeof(s->server_port), "%u", ip_port((struct sockaddr *)&own));
		f->server_port = str_of(s->server_port);
	}
	f->client_name = f->client_reverse_name = STR("unknown");
	f->arena = &s->arena;
}

/* The verified host name, or "unknown" with the reason in the log. */
static void find_client_name(struct session *s)
{
	struct policy_session *f = &s->facts;
	enum dns_status ptr, forward;
	struct str name;

	if (!s->port->view->params->smtpd_peername_lookup ||
	    dns_host_name((struct sockaddr *)&s->peer, &s->arena, &name, &ptr, &forward))
		return;
	f->is_reverse_name_tempfail = f->is_client_name_tempfail = ptr == DNS_TRY_AGAIN;
	if (ptr != DNS_FOUND || name.len == 0)
		return;
	f->client_reverse_name = name;
	f->is_client_name_tempfail = forward == DNS_TRY_AGAIN;
	if (forward == DNS_FOUND)
		f->client_name = name;
	else if (forward == DNS_NO_NAME || forward == DNS_NO_DATA)
		session_warn(s, "hostname %.*s does not resolve to address %.*s", STR_ARG(name), STR_ARG(f->client_address));
}

static void name_client(struct session *s)
{
	const struct policy_session *f = &s->facts;
	bool has_port = s->port->view->params->smtpd_client_port_logging;

	s->name = arena_printf(&s->arena, "%.*s[%.*s]%s%.*s", STR_ARG(f->client_name), STR_ARG(f->client_address),
	                       has_port ? ":" : "", has_port ? (int)f->client_port.len : 0,
	                       f->client_port.ptr ? f->client_port.ptr : "");
}

static bool is_listed(struct match_list *l, struct str name)
{
	struct buf why = BUF_INIT(500);
	int found = l ? match_list_check(l, name, &why) : 0;

	buf_done(&why);
	return found > 0;
}

static void set_keywords(struct session *s)
{
	struct buf why = BUF_INIT(500);
	struct str value;

	s->discarded_keywords = s->port->discarded_keywords;
	if (!maps_is_empty(s->port->keyword_maps) &&
	    !maps_find(s->port->keyword_maps, s->facts.client_address, false, &s->arena, &value, &why))
		s->discarded_keywords = port_parse_keywords(value);
	buf_done(&why);
}

/* 220, or what a client hears that is not wanted. */
static void greet(struct session *s)
{
	const struct params *p = s->port->view->params;
	struct policy_action act = {0};
	struct reply r;

	s->denied = STR("");
	s->facts.arena = &s->arena;
	s->facts.connect_deferral = (struct policy_deferral){0};
	r = policy_check_connect(s->port->policy, &s->facts, &act);
	session_log_notes(s, "CONNECT", &act);
	if (act.is_hangup) {
		s->end = END_QUIET;
	} else if (r.code) {
		session_reject(s, "CONNECT", &r);
		s->denied = s->name;
	} else {
		session_say(s, "220 %.*s", STR_ARG(p->smtpd_banner));
	}
}

/* What comes before the greeting. */
static void admit(struct session *s)
{
	if (clients_enter(s)) {
		session_say(s, "421 4.7.0 %.*s Error: too many connections from %.*s", STR_ARG(s->port->view->params->myhostname),
		            STR_ARG(s->facts.client_address));
		s->end = END_QUIET;
	} else if (!s->port->is_wrapped || starttls_handshake(s)) {
		greet(s);
	}
}

void session_begin_again(struct session *s)
{
	name_client(s);
	greet(s);
}

bool session_spoke_early(struct session *s, const char *stage)
{
	struct str text;

	if (s->facts.has_bad_pipelining || !stream_has_input(s->stream))
		return false;
	/* No more is read here: the command that will be run lies in the same buffer. */
	text = stream_at_hand(s->stream);
	s->facts.has_bad_pipelining = true;
	struct buf shown = BUF_INIT(400);

	for (size_t i = 0; i < text.len && i < 80; i++) {
		char c = text.ptr[i];

		if (c == '\r')
			buf_add(&shown, STR("\\r"));
		else if (c == '\n')
			buf_add(&shown, STR("\\n"));
		else
			buf_add_char(&shown, (unsigned char)c < ' ' || c == 127 ? '?' : c);
	}
	session_log(s, "improper command pipelining after %s from %.*s: %s", stage, STR_ARG(s->name), buf_cstr(&shown));
	buf_done(&shown);
	if (!s->port->view->params->smtpd_forbid_unauth_pipelining)
		return false;
	session_say(s, "554 5.5.0 Error: SMTP protocol synchronization");
	s->end = END_QUIET;
	return true;
}

/* A copy with a NUL behind it, as regexp tables like it. */
static bool is_listed_verb(struct match_list *l, struct str verb)
{
	char *copy = str_cstr(verb);
	bool is_found = is_listed(l, str_of(copy));

	free(copy);
	return is_found;
}

static void run_unknown(struct session *s, struct str verb, struct str line)
{
	if (!is_listed_verb(s->port->forbidden_commands, verb)) {
		session_say(s, "500 5.5.2 Error: command not recognized");
		return;
	}
	session_warn(s, "non-SMTP command from %.*s: %.*s", STR_ARG(s->name), (int)size_min(line.len, 100), line.ptr);
	session_say(s, "221 2.7.0 Error: I can break rules, too. Goodbye.");
	s->end = END_QUIET;
}

/* One command. A reply from 400 on leaves `good` as it was; a message that is accepted sets the errors back. */
static void run_verb(struct session *s, struct str line)
{
	const struct params *p = s->port->view->params;
	int64_t errors = s->errors;
	struct command c;
	enum verb_id id;
	const struct verb *v;

	command_parse(line, &c);
	if (c.verb.len == 0) {
		session_say(s, "500 5.5.2 Error: bad syntax");
		return;
	}
	if (p->smtpd_noop_commands.len > 0 && is_listed_verb(s->port->noop_commands, c.verb)) {
		s->junk++;
		session_say(s, "250 2.0.0 Ok");
		return;
	}
	id = verb_find(c.verb);
	v = verb_of(id);
	s->seen[id]++;
	if (id == VERB_UNKNOWN) {
		s->where = "UNKNOWN";
		run_unknown(s, c.verb, line);
		return;
	}
	s->where = v->stage;
	if (session_needs_tls(s) && !(v->flags & VERB_BEFORE_TLS))
		session_say(s, "530 5.7.0 Must issue a STARTTLS command first");
	else if (s->denied.len > 0 && !(v->flags & VERB_DENIED))
		session_say(s, "503 5.7.0 Error: access denied for %.*s", STR_ARG(s->denied));
	else if (((v->flags & VERB_LAST) == 0 && s->facts.is_esmtp) || !session_spoke_early(s, v->stage))
		v->run(s, c.argument);
	s->good[id] += s->errors <= errors;
	if ((v->flags & VERB_JUNK) && s->junk++ > p->smtpd_junk_command_limit)
		s->errors++;
}

static void set_command_deadline(struct session *s)
{
	const struct params *p = s->port->view->params;

	if (p->smtpd_per_request_deadline)
		stream_set_deadline(s->stream, clock_deadline(p->smtpd_timeout));
}

/* AUTH may bring a response with it, and access tokens are long. */
static size_t line_limit(const struct params *p)
{
	int64_t limit = p->line_length_limit;

	if (p->smtpd_sasl_auth_enable && p->smtpd_sasl_response_limit > limit)
		limit = p->smtpd_sasl_response_limit;
	return (size_t)limit;
}

/* The next line, bare line feeds dealt with. False when the session is over. */
static bool read_command(struct session *s, struct str *ret_line)
{
	const struct params *p = s->port->view->params;
	bool is_bare;
	int err;

	set_command_deadline(s);
	if (!s->tx.has_mail && !stream_has_input(s->stream))
		stream_idle(s->stream);
	err = stream_read_line(s->stream, line_limit(p), ret_line, &is_bare);
	if (!str_starts_nocase(*ret_line, STR("AUTH ")))
		*ret_line = str_cut(*ret_line, 0, (size_t)p->line_length_limit);
	if (err && err != -EMSGSIZE) {
		session_failed(s, err);
		return false;
	}
	s->has_bare_lf |= is_bare;
	if (is_bare && s->port->bare_newline == BARE_NEWLINE_REJECT && !s->is_bare_newline_exempt) {
		session_say(s, "%lld 5.5.2 %.*s Error: bare <LF> received", (long long)p->smtpd_forbid_bare_newline_reject_code,
		            STR_ARG(p->myhostname));
		if (p->smtpd_forbid_bare_newline_reject_code == 521 && s->end == END_NOT_YET)
			s->end = END_QUIET;
		return false;
	}
	return true;
}

static void one_command(struct session *s)
{
	const struct params *p = s->port->view->params;
	struct str line;

	if (s->errors >= p->smtpd_hard_error_limit) {
		session_say(s, "421 4.7.0 %.*s Error: too many errors", STR_ARG(p->myhostname));
		s->end = END_ERRORS;
		return;
	}
	if (smtpd.is_draining && !s->tx.has_mail) {
		session_say(s, "421 4.3.2 %.*s Service shutting down", STR_ARG(p->myhostname));
		s->end = END_QUIET;
		return;
	}
	if (!read_command(s, &line))
		return;
	s->is_in_verb = true;
	if (p->smtputf8_enable && !utf8_is_valid(line))
		session_say(s, "500 5.5.2 Error: bad UTF-8 syntax");
	else
		run_verb(s, line);
	s->is_in_verb = false;
}

static void serve(struct session *s)
{
	const struct params *p = s->port->view->params;

	stream_set_timeout(s->stream, p->smtpd_timeout);
	s->is_bare_newline_exempt = is_listed(s->port->bare_newline_exempt, s->facts.client_address);
	s->is_limit_exempt = is_listed(s->port->limit_exempt, s->facts.client_address);
	name_client(s);
	find_client_name(s);
	name_client(s);
	session_log(s, "connect from %.*s", STR_ARG(s->name));
	set_keywords(s);
	admit(s);
	while (s->end == END_NOT_YET)
		one_command(s);
}

/* The last words in the log; what was to be sent is sent. */
static void finish(struct session *s)
{
	char usual[256];
	struct buf counts;
	uint32_t seen = 0, good = 0;

	buf_init_on(&counts, usual, sizeof(usual), 2000);
	if (s->end == END_QUIT || s->end == END_QUIET || s->end == END_ERRORS)
		stream_shutdown(s->stream);
	for (int i = 0; i < VERB_COUNT; i++) {
		seen += s->seen[i];
		good += s->good[i];
		if (s->seen[i] == 0)
			continue;
		buf_addf(&counts, " %s=%u", verb_count_name((enum verb_id)i), s->good[i]);
		if (s->good[i] != s->seen[i])
			buf_addf(&counts, "/%u", s->seen[i]);
	}
	buf_addf(&counts, " commands=%u", good);
	if (good != seen || seen == 0)
		buf_addf(&counts, "/%u", seen);
	if (s->has_bare_lf && s->port->bare_newline != BARE_NEWLINE_ALLOW)
		buf_add(&counts, STR(" notes=bare_lf"));
	session_log(s, "disconnect from %.*s%s", STR_ARG(s->name), buf_cstr(&counts));
	buf_done(&counts);
}

static void log_bad_end(struct session *s)
{
	const char *what = s->end == END_LOST ? "lost connection" : s->end == END_TIMEOUT ? "timeout" : "too many errors";
	bool has_id = s->tx.envelope.queue_id[0] != '\0';
	bool has_bytes = s->tx.draft && s->end != END_ERRORS;
	char bytes[40] = "";

	if (has_bytes)
		snprintf(bytes, sizeof(bytes), " (%llu bytes)", (unsigned long long)draft_size(s->tx.draft));
	session_log(s, "%s%s%s after %s%s from %.*s", has_id ? s->tx.envelope.queue_id : "", has_id ? ": " : "", what, s->where,
	            bytes, STR_ARG(s->name));
}

void session_run(struct port *port, int fd, const struct sockaddr_storage *peer)
{
	struct session *s = mem_alloc(sizeof(*s));

	s->port = port;
	s->stream = stream_new(fd);
	s->where = "CONNECT";
	list_add(&smtpd.sessions, &s->link);
	set_addresses(s, peer);
	serve(s);
	if (s->end == END_LOST || s->end == END_TIMEOUT || s->end == END_ERRORS)
		log_bad_end(s);
	session_reset(s);
	finish(s);
	clients_leave(s);
	list_remove(&s->link);
	stream_free(s->stream);
	arena_done(&s->tx.arena);
	arena_done(&s->helo_arena);
	arena_done(&s->arena);
	free(s);
}

void session_ask_to_end(struct session *s)
{
	/* The reader wakes up with the end of input, and says 421 on its way out. */
	if (!s->is_in_verb && !s->tx.has_mail)
		(void)shutdown(stream_fd(s->stream), SHUT_RD);
}

void session_failed(struct session *s, int err)
{
	const struct params *p = s->port->view->params;

	if (s->end != END_NOT_YET || s->is_failing)
		return;
	s->is_failing = true;
	if (smtpd.is_draining && !s->tx.has_mail && err == -EPIPE) {
		session_say(s, "421 4.3.2 %.*s Service shutting down", STR_ARG(p->myhostname));
		s->end = END_QUIET;
	} else if (err == -ETIMEDOUT) {
		/* The reply that timed out cannot be waited for as long again. */
		stream_set_deadline(s->stream, clock_deadline(duration_s(5)));
		session_say(s, "421 4.4.2 %.*s Error: timeout exceeded", STR_ARG(p->myhostname));
		s->end = END_TIMEOUT;
		(void)!stream_flush(s->stream);
	} else {
		s->end = END_LOST;
	}
}

void session_reset(struct session *s)
{
	struct transaction *tx = &s->tx;

	draft_free(tx->draft);
	arena_reset(&tx->arena);
	free(tx->recipients);
	*tx = (struct transaction){.arena = tx->arena};
	s->facts.sender = s->facts.sender_raw = s->facts.recipient = s->facts.recipient_raw = s->facts.queue_id = STR("");
	s->facts.instance = STR("");
	s->facts.has_sender = false;
	s->facts.recipient_count = 0;
	s->facts.size = 0;
	s->facts.sasl_sender = STR("");
	s->facts.mail_deferral = (struct policy_deferral){0};
}

bool session_offers_tls(const struct session *s)
{
	return s->port->tls_level != TLS_LEVEL_NONE && !s->port->is_wrapped && !(s->discarded_keywords & EHLO_STARTTLS);
}

bool session_needs_tls(const struct session *s)
{
	return s->port->tls_level == TLS_LEVEL_ENCRYPT && !stream_tls(s->stream);
}
