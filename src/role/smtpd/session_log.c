/* SPDX-License-Identifier: Apache-2.0 */
/* What a session says to its client and to the log. */
#include <stdarg.h>

#include "config/params.h"
#include "content/content.h"
#include "fiber/fiber.h"
#include "mail/address.h"
#include "session_internal.h"

/* What is usual lies on the stack. */
enum { REPLY_MAX = 16384, REPLY_USUAL = 256, LOG_LINE_MAX = 4096, LOG_LINE_USUAL = 512 };

void session_log(struct session *s, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	log_vtagged(s->port->tag, LOG_LEVEL_INFO, fmt, args);
	va_end(args);
}

void session_warn(struct session *s, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	log_vtagged(s->port->tag, LOG_LEVEL_WARN, fmt, args);
	va_end(args);
}

void session_log_content(struct session *s, const struct content_note *notes)
{
	for (; notes; notes = notes->next)
		log_tagged(s->port->cleanup_tag, notes->level, "%.*s", STR_ARG(notes->text));
}

const char *session_queue_id(const struct session *s)
{
	return s->tx.envelope.queue_id[0] ? s->tx.envelope.queue_id : "NOQUEUE";
}

/* Beyond the soft limit a client that errs waits for each answer. */
static void slow_down(struct session *s)
{
	const struct params *p = s->port->view->params;

	if (s->errors <= p->smtpd_soft_error_limit || p->smtpd_error_sleep_time.ns <= 0)
		return;
	(void)!stream_flush(s->stream);
	(void)!fiber_sleep(p->smtpd_error_sleep_time);
}

static void say(struct session *s, int code, struct buf *lines)
{
	int err;

	if (s->end != END_NOT_YET)
		return;
	if (code >= 500 && s->port->view->params->soft_bounce)
		session_soften(lines);
	if (code >= 400) {
		s->errors++;
		session_add_footer(s, lines);
	}
	slow_down(s);
	err = stream_write(s->stream, buf_str(lines));
	if (err)
		session_failed(s, err);
}

void session_say(struct session *s, const char *fmt, ...)
{
	char usual[REPLY_USUAL];
	struct buf line;
	int code = 0;
	va_list args;

	buf_init_on(&line, usual, sizeof(usual), REPLY_MAX);
	va_start(args, fmt);
	buf_vaddf(&line, fmt, args);
	va_end(args);
	for (size_t i = 0; i < 3 && i < line.len; i++)
		code = code * 10 + (line.ptr[i] - '0');
	buf_add(&line, STR("\r\n"));
	say(s, code, &line);
	buf_done(&line);
}

void session_say_reply(struct session *s, const struct reply *r)
{
	struct buf line = BUF_INIT(REPLY_MAX);

	reply_format(&line, r, true);
	say(s, r->code, &line);
	buf_done(&line);
	if (r->is_final && s->end == END_NOT_YET)
		s->end = END_QUIET;
}

/* " from=<a> to=<b> proto=ESMTP helo=<h> ...": what is known at this stage. */
static void add_context(struct buf *to, const struct session *s)
{
	const struct policy_session *f = &s->facts;
	struct arena a = ARENA_INIT;

	if (f->has_sender)
		buf_addf(to, " from=<%.*s>", STR_ARG(address_external(&a, f->sender)));
	if (f->recipient.len > 0)
		buf_addf(to, " to=<%.*s>", STR_ARG(address_external(&a, f->recipient)));
	buf_addf(to, " proto=%s", f->is_esmtp ? "ESMTP" : "SMTP");
	if (f->helo.len > 0)
		buf_addf(to, " helo=<%.*s>", STR_ARG(f->helo));
	if (f->sasl_method.len > 0)
		buf_addf(to, " sasl_method=%.*s", STR_ARG(f->sasl_method));
	if (f->sasl_username.len > 0)
		buf_addf(to, " sasl_username=<%.*s>", STR_ARG(f->sasl_username));
	if (f->sasl_sender.len > 0)
		buf_addf(to, " sasl_sender=<%.*s>", STR_ARG(f->sasl_sender));
	arena_done(&a);
}

/* "QID: WORD: STAGE from NAMADDR: TEXT; from=<> ..." */
static void log_action(struct session *s, struct str word, const char *stage, struct str text)
{
	char usual[LOG_LINE_USUAL];
	struct buf line;

	buf_init_on(&line, usual, sizeof(usual), LOG_LINE_MAX);
	buf_addf(&line, "%s: %.*s: %s from %.*s: %.*s;", session_queue_id(s), STR_ARG(word), stage, STR_ARG(s->name),
	         STR_ARG(text));
	add_context(&line, s);
	log_tagged(s->port->tag, LOG_LEVEL_INFO, "%s", buf_cstr(&line));
	buf_done(&line);
}

void session_log_notes(struct session *s, const char *stage, const struct policy_action *act)
{
	for (const struct policy_note *n = act->notes; n; n = n->next) {
		if (n->kind == NOTE_ACTION)
			log_action(s, n->word, stage, n->text);
		else if (n->kind == NOTE_INFO)
			session_log(s, "%.*s", STR_ARG(n->text));
		else
			session_warn(s, "%.*s", STR_ARG(n->text));
	}
}

void session_reject(struct session *s, const char *stage, const struct reply *r)
{
	struct buf line = BUF_INIT(REPLY_MAX);
	struct str text;

	/* In the log the lines of a reply stand behind each other. */
	reply_format(&line, r, true);
	text = str_trim(buf_str(&line));
	for (size_t i = 0; i < text.len; i++)
		if (line.ptr[i] == '\r' || line.ptr[i] == '\n')
			line.ptr[i] = ' ';
	log_action(s, STR("reject"), stage, text);
	buf_done(&line);
	session_say_reply(s, r);
}
