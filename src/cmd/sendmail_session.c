/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/sendmail_session.h"

#include <stdlib.h>

#include "mail/smtp_command.h"

enum { COMMAND_FLAGS = COMMAND_UTF8 | COMMAND_DSN | COMMAND_SMTPUTF8 };

/* The message under way. */
struct transaction {
	struct sendmail_session *s;
	struct arena arena;
	struct envelope envelope;
	uint32_t size; /* of envelope.recipients */
	bool has_sender;
	bool is_over;
	char *line;
	size_t line_size;
};

static void begin(struct transaction *t)
{
	arena_reset(&t->arena);
	t->envelope = (struct envelope){0};
	t->has_sender = false;
	t->size = 0;
}

static void say(struct transaction *t, const struct reply *r)
{
	struct buf text = BUF_INIT(65536);

	reply_format(&text, r, r->dsn.class_digit != 0);
	fwrite(text.ptr, 1, text.len, t->s->out);
	buf_done(&text);
}

#define REPLY(code_, c, d, e, text_) ((struct reply){.code = (code_), .dsn = DSN(c, d, e), .text = STR(text_)})

static bool read_line(struct transaction *t, struct str *ret_line)
{
	ssize_t len;

	fflush(t->s->out);
	len = getline(&t->line, &t->line_size, t->s->in);
	if (len < 0)
		return false;
	*ret_line = str_n(t->line, (size_t)len);
	return true;
}

static struct str without_line_end(struct str line)
{
	if (str_ends(line, STR("\n")))
		line.len--;
	if (str_ends(line, STR("\r")))
		line.len--;
	return line;
}

/* --- commands ------------------------------------------------------------------------------ */

static struct reply do_ehlo(struct transaction *t, struct str argument)
{
	begin(t);
	return (struct reply){.code = 250,
	                      .text = arena_printf(&t->arena,
	                                           "%.*s\nPIPELINING\nSIZE %llu\nENHANCEDSTATUSCODES\n8BITMIME\nDSN\nSMTPUTF8",
	                                           STR_ARG(t->s->hostname), (unsigned long long)t->s->size_limit)};
}

static struct reply do_helo(struct transaction *t, struct str argument)
{
	begin(t);
	return (struct reply){.code = 250, .text = t->s->hostname};
}

static struct reply do_mail(struct transaction *t, struct str argument)
{
	struct mail_command mail;
	struct reply r;

	if (t->has_sender)
		return REPLY(503, 5, 5, 1, "Error: nested MAIL command");
	r = mail_command_parse(argument, COMMAND_FLAGS, &t->arena, &mail);
	if (r.code)
		return r;
	if (t->s->size_limit && mail.size > t->s->size_limit)
		return REPLY(552, 5, 3, 4, "Message size exceeds fixed limit");
	t->envelope.sender = mail.address;
	t->envelope.ret = mail.ret;
	t->envelope.envid = mail.envid;
	t->envelope.flags = (mail.is_8bitmime ? ENVELOPE_8BITMIME : 0) | (mail.is_smtputf8 ? ENVELOPE_SMTPUTF8 : 0);
	t->has_sender = true;
	return REPLY(250, 2, 1, 0, "Ok");
}

static void add_recipient(struct transaction *t, const struct rcpt_command *rcpt)
{
	struct envelope *e = &t->envelope;

	if (e->recipient_count == t->size) {
		struct recipient *more;

		t->size = t->size ? t->size * 2 : 16;
		more = arena_alloc(&t->arena, t->size * sizeof *more);
		if (e->recipient_count)
			memcpy(more, e->recipients, e->recipient_count * sizeof *more);
		e->recipients = more;
	}
	e->recipients[e->recipient_count++] =
		(struct recipient){.address = rcpt->address, .orcpt = rcpt->orcpt, .notify = rcpt->notify};
}

static struct reply do_rcpt(struct transaction *t, struct str argument)
{
	struct rcpt_command rcpt;
	struct reply r;

	if (!t->has_sender)
		return REPLY(503, 5, 5, 1, "Error: need MAIL command");
	if (t->envelope.recipient_count >= t->s->recipient_limit)
		return REPLY(452, 4, 5, 3, "Error: too many recipients");
	r = rcpt_command_parse(argument, COMMAND_FLAGS, &t->arena, &rcpt);
	if (r.code)
		return r;
	add_recipient(t, &rcpt);
	return REPLY(250, 2, 1, 5, "Ok");
}

/* To the lone dot, with the doubled ones undone. False when the input ended before. */
static bool read_content(struct transaction *t, struct buf *to, bool *ret_is_large)
{
	struct str line;

	while (read_line(t, &line)) {
		if (str_eq(without_line_end(line), STR(".")))
			return true;
		if (str_starts(line, STR(".")))
			line = str_from(line, 1);
		*ret_is_large |= t->s->size_limit && to->len + line.len > t->s->size_limit;
		if (*ret_is_large)
			continue;
		buf_add(to, without_line_end(line));
		buf_add_char(to, '\n');
	}
	return false;
}

static struct reply do_data(struct transaction *t, struct str argument)
{
	struct buf content = BUF_INIT(SIZE_MAX / 2);
	struct reply r = REPLY(354, 0, 0, 0, "End data with <CR><LF>.<CR><LF>");
	bool is_large = false;

	if (!t->envelope.recipient_count)
		return t->has_sender ? REPLY(554, 5, 5, 1, "Error: no valid recipients")
		                     : REPLY(503, 5, 5, 1, "Error: need RCPT command");
	say(t, &r);
	if (!read_content(t, &content, &is_large)) {
		t->is_over = true;
		r = (struct reply){0};
	} else if (is_large) {
		r = REPLY(552, 5, 3, 4, "Error: message file too big");
	} else {
		t->envelope.arrival = clock_wall();
		t->envelope.content_size = content.len;
		r = t->s->submit(t->s->arg, &t->envelope, buf_str(&content), &t->arena);
	}
	buf_done(&content);
	t->has_sender = false;
	t->envelope.recipient_count = 0;
	return r;
}

static struct reply do_rset(struct transaction *t, struct str argument)
{
	begin(t);
	return REPLY(250, 2, 0, 0, "Ok");
}

static struct reply do_noop(struct transaction *t, struct str argument)
{
	return REPLY(250, 2, 0, 0, "Ok");
}

static struct reply do_vrfy(struct transaction *t, struct str argument)
{
	return REPLY(252, 2, 0, 0, "Cannot VRFY user, but will accept message and attempt delivery");
}

static struct reply do_quit(struct transaction *t, struct str argument)
{
	t->is_over = true;
	return REPLY(221, 2, 0, 0, "Bye");
}

static const struct {
	const char *verb;
	struct reply (*run)(struct transaction *t, struct str argument);
} verbs[] = {
	{"EHLO", do_ehlo}, {"HELO", do_helo}, {"MAIL", do_mail}, {"RCPT", do_rcpt}, {"DATA", do_data},
	{"RSET", do_rset}, {"NOOP", do_noop}, {"VRFY", do_vrfy}, {"QUIT", do_quit},
};

static struct reply run_line(struct transaction *t, struct str line)
{
	struct command c;

	command_parse(without_line_end(line), &c);
	for (size_t i = 0; i < COUNT_OF(verbs); i++)
		if (str_eq_nocase(c.verb, str_of(verbs[i].verb)))
			return verbs[i].run(t, c.argument);
	return REPLY(502, 5, 5, 2, "Error: command not recognized");
}

void sendmail_session_run(struct sendmail_session *s)
{
	struct transaction t = {.s = s};
	struct reply r = {.code = 220};
	struct str line;

	r.text = arena_printf(&t.arena, "%.*s ESMTP %.*s", STR_ARG(s->hostname), STR_ARG(s->mail_name));
	say(&t, &r);
	while (!t.is_over && read_line(&t, &line)) {
		r = run_line(&t, line);
		if (r.code)
			say(&t, &r);
	}
	fflush(s->out);
	free(t.line);
	arena_done(&t.arena);
}
