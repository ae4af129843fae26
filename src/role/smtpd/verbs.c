/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands, and those that need few words. */
#include "verbs.h"

#include "config/params.h"
#include "mail/address.h"
#include "route/resolve.h"

static const struct verb verbs[VERB_COUNT] = {
	[VERB_HELO] = {{"HELO", 4}, "HELO", verb_helo, VERB_LAST | VERB_BEFORE_TLS | VERB_JUNK},
	[VERB_EHLO] = {{"EHLO", 4}, "EHLO", verb_ehlo, VERB_LAST | VERB_BEFORE_TLS | VERB_JUNK},
	[VERB_STARTTLS] = {{"STARTTLS", 8}, "STARTTLS", verb_starttls, VERB_BEFORE_TLS},
	[VERB_AUTH] = {{"AUTH", 4}, "AUTH", verb_auth, VERB_LAST},
	[VERB_MAIL] = {{"MAIL", 4}, "MAIL", verb_mail, 0},
	[VERB_RCPT] = {{"RCPT", 4}, "RCPT", verb_rcpt, 0},
	[VERB_DATA] = {{"DATA", 4}, "DATA", verb_data, VERB_LAST},
	[VERB_BDAT] = {{"BDAT", 4}, "BDAT", verb_bdat, 0},
	[VERB_RSET] = {{"RSET", 4}, "RSET", verb_rset, VERB_JUNK},
	[VERB_NOOP] = {{"NOOP", 4}, "NOOP", verb_noop, VERB_BEFORE_TLS | VERB_JUNK},
	[VERB_VRFY] = {{"VRFY", 4}, "VRFY", verb_vrfy, VERB_JUNK},
	[VERB_ETRN] = {{"ETRN", 4}, "ETRN", verb_etrn, VERB_JUNK},
	[VERB_QUIT] = {{"QUIT", 4}, "QUIT", verb_quit, VERB_BEFORE_TLS | VERB_DENIED},
	[VERB_XCLIENT] = {{"XCLIENT", 7}, "XCLIENT", verb_xclient, VERB_LAST | VERB_BEFORE_TLS},
	[VERB_XFORWARD] = {{"XFORWARD", 8}, "XFORWARD", verb_xforward, 0},
	[VERB_HELP] = {{"HELP", 4}, "HELP", verb_help, VERB_BEFORE_TLS | VERB_JUNK},
	[VERB_UNKNOWN] = {{"", 0}, "UNKNOWN", verb_unknown, 0},
};

static const char *const count_names[VERB_COUNT] = {"helo", "ehlo",    "starttls", "auth", "mail",   "rcpt",
                                                    "data", "bdat",    "rset",     "noop", "vrfy",   "etrn",
                                                    "quit", "xclient", "xforward", "help", "unknown"};

enum verb_id verb_find(struct str name)
{
	for (int i = 0; i < VERB_UNKNOWN; i++)
		if (str_eq_nocase(verbs[i].name, name))
			return (enum verb_id)i;
	return VERB_UNKNOWN;
}

const struct verb *verb_of(enum verb_id id)
{
	return &verbs[id];
}

const char *verb_count_name(enum verb_id id)
{
	return count_names[id];
}

void verb_rset(struct session *s, struct str argument)
{
	if (argument.len > 0) {
		session_say(s, "501 5.5.4 Syntax: RSET");
		return;
	}
	session_reset(s);
	session_say(s, "250 2.0.0 Ok");
}

void verb_noop(struct session *s, struct str argument)
{
	session_say(s, "250 2.0.0 Ok");
}

void verb_quit(struct session *s, struct str argument)
{
	session_say(s, "221 2.0.0 Bye");
	if (s->end == END_NOT_YET)
		s->end = END_QUIT;
}

void verb_help(struct session *s, struct str argument)
{
	session_say(s, "214 2.0.0 See https://www.postfix.org/smtpd.8.html");
}

/* Never called through the table: run_verb() deals with it. */
void verb_unknown(struct session *s, struct str argument)
{
	session_say(s, "500 5.5.2 Error: command not recognized");
}

void verb_vrfy(struct session *s, struct str argument)
{
	const struct params *p = s->port->view->params;
	struct arena a = ARENA_INIT;
	struct policy_action act = {0};
	struct policy_session facts = s->facts;
	struct str rest = argument;
	struct reply r;

	if (p->disable_vrfy_command) {
		session_say(s, "502 5.5.1 VRFY command is disabled");
	} else if (argument.len == 0) {
		session_say(s, "501 5.5.4 Syntax: VRFY address%s", p->smtputf8_enable ? " [SMTPUTF8]" : "");
	} else if (address_parse_path(&rest, p->smtputf8_enable ? ADDRESS_UTF8 : 0, &a, &s->facts.recipient_raw)) {
		session_say(s, "501 5.1.3 Bad recipient address syntax");
	} else {
		s->facts.arena = &a;
		s->facts.recipient = router_rewrite(s->port->router, s->facts.recipient_raw, p->myorigin, &a);
		r = policy_check_vrfy(s->port->policy, &s->facts, &act);
		session_log_notes(s, "VRFY", &act);
		if (act.is_hangup)
			s->end = END_QUIET;
		else if (r.code)
			session_reject(s, "VRFY", &r);
		else
			session_say(s, "252 2.0.0 %.*s", STR_ARG(argument));
	}
	s->facts.recipient = facts.recipient;
	s->facts.recipient_raw = facts.recipient_raw;
	s->facts.arena = facts.arena;
	arena_done(&a);
}

void verb_etrn(struct session *s, struct str argument)
{
	const struct params *p = s->port->view->params;
	struct arena a = ARENA_INIT;
	struct policy_action act = {0};
	struct arena *arena = s->facts.arena;
	struct reply r;

	if (p->smtpd_helo_required && s->facts.helo.len == 0) {
		session_say(s, "503 Error: send HELO/EHLO first");
	} else if (s->tx.has_mail) {
		session_say(s, "503 Error: MAIL transaction in progress");
	} else if (argument.len == 0 || str_find_any(argument, " \t") < argument.len) {
		session_say(s, "500 Syntax: ETRN domain");
	} else {
		s->facts.arena = &a;
		s->facts.etrn_domain = str_from(argument, argument.ptr[0] == '@' || argument.ptr[0] == '#');
		r = policy_check_etrn(s->port->policy, &s->facts, s->facts.etrn_domain, &act);
		session_log_notes(s, "ETRN", &act);
		if (act.is_hangup)
			s->end = END_QUIET;
		else if (r.code)
			session_reject(s, "ETRN", &r);
		else
			session_say(s, "459 <%.*s>: service unavailable", STR_ARG(argument));
	}
	s->facts.etrn_domain = STR("");
	s->facts.arena = arena;
	arena_done(&a);
}
