/* SPDX-License-Identifier: Apache-2.0 */
/* MAIL and RCPT: the envelope. */
#include <sys/statvfs.h>

#include "clients.h"
#include "config/params.h"
#include "mail/address.h"
#include "net/tls.h"
#include "route/resolve.h"
#include "smtpd.h"
#include "verbs.h"

static unsigned command_flags(const struct session *s)
{
	const struct params *p = s->port->view->params;

	return (p->strict_rfc821_envelopes ? COMMAND_STRICT : 0) | (p->smtputf8_enable ? COMMAND_UTF8 : 0) |
	       (s->discarded_keywords & EHLO_DSN ? 0 : COMMAND_DSN) |
	       (p->smtputf8_enable && !(s->discarded_keywords & EHLO_SMTPUTF8) ? COMMAND_SMTPUTF8 : 0) |
	       (p->smtpd_sasl_auth_enable ? COMMAND_AUTH : 0) | (session_offers_requiretls(s) ? COMMAND_REQUIRETLS : 0);
}

static void refuse_syntax(struct session *s, const char *command, const struct reply *r, struct str argument)
{
	/* x.1.3 and x.1.7: the address itself is wrong. */
	if (r->dsn.subject == 1)
		session_warn(s, "Illegal address syntax from %.*s in %s command: %.*s", STR_ARG(s->name), command,
		             STR_ARG(str_from(argument, str_find(argument, ':') + 1)));
	session_say_reply(s, r);
}

/* Code 0, or why a message of this size cannot be taken. */
static struct reply check_space(const struct session *s, uint64_t size)
{
	const struct params *p = s->port->view->params;
	uint64_t limit = (uint64_t)p->message_size_limit, least = (uint64_t)p->queue_minfree;
	static struct instant checked_at;
	static uint64_t free_bytes;
	struct instant now = clock_now();

	if (limit > 0 && size > limit)
		return (struct reply){.code = 552, .dsn = DSN(5, 3, 4), .text = STR("Message size exceeds fixed limit")};
	/* The disk is asked once a second at most. */
	if (checked_at.ns == 0 || duration_between(checked_at, now).ns > NS_PER_S) {
		char *path = str_cstr(p->queue_directory);
		struct statvfs st;

		checked_at = now;
		free_bytes = statvfs(path, &st) ? UINT64_MAX : (uint64_t)st.f_bavail * st.f_frsize;
		free(path);
	}
	if (free_bytes < least || free_bytes < size || free_bytes / 3 * 2 < limit)
		return (struct reply){.code = 452, .dsn = DSN(4, 3, 1), .text = STR("Insufficient system storage")};
	return (struct reply){0};
}

/* What MAIL said, made part of the transaction. */
static void take_mail(struct session *s, const struct mail_command *mail)
{
	struct transaction *tx = &s->tx;
	struct envelope *e = &tx->envelope;

	e->sender = s->facts.sender;
	e->envid = mail->envid;
	e->ret = mail->ret;
	e->flags = (mail->is_8bitmime ? ENVELOPE_8BITMIME : 0) | (mail->is_smtputf8 ? ENVELOPE_SMTPUTF8 : 0) |
	           (mail->is_requiretls ? ENVELOPE_REQUIRETLS : 0);
	tx->declared_size = mail->size;
	tx->has_mail = true;
}

/* The address part of a refusal at this point is the sender's: it is known, though not accepted. */
static struct reply check_mail(struct session *s, const struct mail_command *mail)
{
	const struct params *p = s->port->view->params;
	struct policy_session *f = &s->facts;
	struct arena *a = &s->tx.arena;
	struct wall_time now = clock_wall();
	struct reply r;

	f->arena = a;
	/* One for all recipients of the message, refused ones too: by it policy servers know them as one. */
	f->instance = arena_printf(a, "%x.%llx.%x.0", (unsigned)smtpd.ids.tail, (unsigned long long)now.us / 1000000,
	                           (unsigned)(now.us % 1000000));
	f->sender_raw = mail->address;
	f->sender = mail->address.len > 0 ? router_rewrite(s->port->router, mail->address, p->myorigin, a) : STR("");
	f->has_sender = true;
	f->size = mail->size;
	f->sasl_sender = mail->auth;
	if (str_is_8bit(mail->address) && p->strict_smtputf8 && !mail->is_smtputf8)
		return (struct reply){
			.code = 553, .dsn = DSN(5, 6, 7), .text = STR("Must declare SMTPUTF8 to send unicode address")};
	r = policy_check_mail(s->port->policy, f, &s->tx.action);
	session_log_notes(s, "MAIL", &s->tx.action);
	return r.code ? r : check_space(s, mail->size);
}

void verb_mail(struct session *s, struct str argument)
{
	const struct params *p = s->port->view->params;
	struct mail_command mail;
	struct reply r;

	if (p->smtpd_helo_required && s->facts.helo.len == 0) {
		session_say(s, "503 5.5.1 Error: send HELO/EHLO first");
		return;
	}
	if (s->tx.has_mail) {
		session_say(s, "503 5.5.1 Error: nested MAIL command");
		return;
	}
	if (s->tx.is_bdat) {
		session_say(s, "503 5.5.1 Error: MAIL after BDAT");
		return;
	}
	if (clients_exceed(s, CLIENT_SENDS_MAIL)) {
		session_say(s, "450 4.7.1 Error: too much mail from %.*s", STR_ARG(s->facts.client_address));
		return;
	}
	r = mail_command_parse(arena_str(&s->tx.arena, argument), command_flags(s), &s->tx.arena, &mail);
	if (r.code) {
		refuse_syntax(s, "MAIL", &r, argument);
		session_reset(s);
		return;
	}
	r = check_mail(s, &mail);
	if (s->tx.action.is_hangup) {
		s->end = END_QUIET;
	} else if (r.code) {
		session_reject(s, "MAIL", &r);
		session_reset(s);
	} else {
		take_mail(s, &mail);
		session_say(s, "250 2.1.0 Ok");
	}
}

/* At the first recipient the message gets its id, and the log line that ties it to the client. */
static void begin_message(struct session *s)
{
	struct envelope *e = &s->tx.envelope;
	const struct policy_session *f = &s->facts;
	char usual[256];
	struct buf line;

	buf_init_on(&line, usual, sizeof(usual), 2000);
	e->arrival = clock_wall();
	queue_id_make(&smtpd.ids, e->arrival, e->queue_id);
	s->facts.queue_id = str_of(e->queue_id);
	if (s->has_forwarded) {
		e->client_name = s->forwarded.client_name;
		e->client_address = s->forwarded.client_address;
		e->client_port = s->forwarded.client_port;
		e->helo = s->forwarded.helo;
		e->protocol = s->forwarded.protocol;
	} else {
		e->client_name = f->client_name;
		e->client_address = f->client_address;
		e->client_port = f->client_port;
		e->helo = f->helo;
		e->protocol = f->is_esmtp ? STR("ESMTP") : STR("SMTP");
	}
	e->sasl_method = f->sasl_method;
	e->sasl_username = f->sasl_username;
	e->sasl_sender = f->sasl_sender;
	e->service = s->port->view->service->name;
	buf_addf(&line, "%s: client=%.*s", e->queue_id, STR_ARG(s->name));
	if (f->sasl_method.len > 0)
		buf_addf(&line, ", sasl_method=%.*s", STR_ARG(f->sasl_method));
	if (f->sasl_username.len > 0)
		buf_addf(&line, ", sasl_username=%.*s", STR_ARG(f->sasl_username));
	if (f->sasl_sender.len > 0)
		buf_addf(&line, ", sasl_sender=%.*s", STR_ARG(f->sasl_sender));
	if (s->has_forwarded && s->forwarded.envid.len > 0)
		buf_addf(&line, ", orig_queue_id=%.*s", STR_ARG(s->forwarded.envid));
	if (s->has_forwarded)
		buf_addf(&line, ", orig_client=%.*s[%.*s]", STR_ARG(e->client_name), STR_ARG(e->client_address));
	session_log(s, "%s", buf_cstr(&line));
	buf_done(&line);
}

static void add_recipient(struct session *s, const struct rcpt_command *rcpt)
{
	struct transaction *tx = &s->tx;
	struct envelope *e = &tx->envelope;

	if (e->recipient_count == tx->recipient_size) {
		tx->recipient_size = tx->recipient_size ? 2 * tx->recipient_size : 2;
		tx->recipients = mem_resize(tx->recipients, tx->recipient_size * sizeof(*tx->recipients));
		e->recipients = tx->recipients;
	}
	tx->recipients[e->recipient_count++] =
		(struct recipient){.address = s->facts.recipient, .orcpt = rcpt->orcpt, .notify = rcpt->notify};
	s->facts.recipient_count = e->recipient_count;
}

static struct reply check_rcpt(struct session *s, const struct rcpt_command *rcpt)
{
	const struct params *p = s->port->view->params;
	struct policy_session *f = &s->facts;
	struct arena *a = &s->tx.arena;
	struct reply r;

	f->recipient_raw = rcpt->address;
	f->recipient = router_rewrite(s->port->router, rcpt->address, p->myorigin, a);
	if (str_is_8bit(rcpt->address) && p->strict_smtputf8 && !(s->tx.envelope.flags & ENVELOPE_SMTPUTF8))
		return (struct reply){
			.code = 553, .dsn = DSN(5, 6, 7), .text = STR("Must declare SMTPUTF8 to send unicode address")};
	r = policy_check_rcpt(s->port->policy, f, &s->tx.action);
	session_log_notes(s, "RCPT", &s->tx.action);
	return r;
}

/* More than smtpd_recipient_limit: a polite client sends the rest in another transaction. */
static bool has_too_many(struct session *s)
{
	const struct params *p = s->port->view->params;
	int64_t errors = s->errors;

	if (s->tx.envelope.recipient_count < p->smtpd_recipient_limit)
		return false;
	session_say(s, "452 4.5.3 Error: too many recipients");
	if ((int64_t)++s->tx.overshoot <= p->smtpd_recipient_overshoot_limit)
		s->errors = errors;
	return true;
}

void verb_rcpt(struct session *s, struct str argument)
{
	struct transaction *tx = &s->tx;
	struct rcpt_command rcpt;
	struct reply r;

	if (!tx->has_mail) {
		session_say(s, "503 5.5.1 Error: need MAIL command");
		return;
	}
	if (tx->is_bdat) {
		session_say(s, "503 5.5.1 Error: RCPT after BDAT");
		return;
	}
	if (clients_exceed(s, CLIENT_NAMES_RECIPIENT)) {
		session_say(s, "450 4.7.1 Error: too many recipients from %.*s", STR_ARG(s->facts.client_address));
		return;
	}
	r = rcpt_command_parse(arena_str(&tx->arena, argument), command_flags(s), &tx->arena, &rcpt);
	if (r.code) {
		refuse_syntax(s, "RCPT", &r, argument);
		return;
	}
	if (has_too_many(s))
		return;
	r = check_rcpt(s, &rcpt);
	if (tx->action.is_hangup) {
		s->end = END_QUIET;
	} else if (r.code) {
		session_reject(s, "RCPT", &r);
	} else {
		if (tx->envelope.queue_id[0] == '\0')
			begin_message(s);
		add_recipient(s, &rcpt);
		session_say(s, "250 2.1.5 Ok");
	}
	s->facts.recipient = STR("");
}
