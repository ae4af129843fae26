/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running a list of rules, and the ways in which a rule answers.
 *
 * A list ends with its first PERMIT or REJECT. What a rejection becomes is decided here alone:
 * under warn_if_reject a line in the log, with defer_if_reject armed the 4xx put by earlier.
 */
#include <stdio.h>

#include "policy/policy_internal.h"

enum { DEPTH_MAX = 100, REPLY_SIZE_MAX = 510 };

static void record(struct run *r, const struct rule *rule, enum verdict verdict, bool was_armed)
{
	struct policy_step step = {.list = r->list,
	                           .depth = r->depth,
	                           .rule = rule->text,
	                           .file = rule->origin.file,
	                           .line = rule->origin.line,
	                           .reason = r->reason};
	struct buf answer = BUF_INIT(2048);

	if (verdict == REJECT) {
		buf_addf(&answer, "reject: %d ", r->reply.code);
		dsn_code_format(&answer, r->reply.dsn);
		buf_addf(&answer, " %.*s", STR_ARG(r->reply.text));
	} else if (verdict == PERMIT) {
		buf_add(&answer, STR("permit"));
	} else {
		bool is_armed = r->defer_if_permit.is_armed || r->defer_if_reject.is_armed;

		buf_add(&answer, is_armed && !was_armed ? STR("dunno, but a deferral is put by") : STR("dunno"));
	}
	step.answer = buf_str(&answer);
	r->p->record(r->p->record_arg, &step);
	buf_done(&answer);
}

/* Why a rule need not be asked at all, or NULL. */
static const char *reason_to_skip(struct run *r, const struct rule *rule)
{
	const struct policy_session *s = r->s;
	unsigned flags = rule->type->flags;

	if ((flags & RULE_NEEDS_HELO) && str_is_empty(s->helo))
		return "no HELO";
	if ((flags & RULE_NEEDS_SENDER) && !s->has_sender)
		return "no sender yet";
	if ((flags & RULE_NEEDS_RECIPIENT) && str_is_empty(s->recipient))
		return "no recipient, or several";
	if ((flags & RULE_NEEDS_SASL) && !r->p->params->smtpd_sasl_auth_enable) {
		run_note(r, NOTE_WARNING, STR(""), "restriction `%s' ignored: no SASL support", rule->type->name);
		return "smtpd_sasl_auth_enable is off";
	}
	return NULL;
}

static enum verdict run_rule(struct run *r, const struct rule *rule)
{
	bool outer_warn_only = r->is_warn_only;
	bool was_armed = r->defer_if_permit.is_armed || r->defer_if_reject.is_armed;
	enum verdict verdict = DUNNO;
	const char *skip = reason_to_skip(r, rule);

	r->reason = STR("");
	r->is_warn_only |= rule->is_warn_only;
	if (skip)
		run_explain(r, "%s", skip);
	else
		verdict = rule->type->run(r, rule);
	r->is_warn_only = outer_warn_only;
	if (r->p->record)
		record(r, rule, verdict, was_armed);
	return verdict;
}

enum verdict run_list(struct run *r, const struct rule_list *list)
{
	enum verdict verdict = DUNNO;

	if (r->depth >= DEPTH_MAX) {
		run_note(r, NOTE_WARNING, STR(""), "restriction classes or access tables lead back to themselves");
		return run_server_error(r);
	}
	for (size_t i = 0; i < list->count && verdict == DUNNO; i++) {
		verdict = run_rule(r, &list->rules[i]);
		/* Whatever comes, it will be deferred: ask no more. */
		if (r->defer_if_permit.is_armed && r->defer_if_reject.is_armed)
			break;
		if (r->act->is_discarded || r->act->is_hangup)
			break;
	}
	return verdict;
}

enum verdict rule_class(struct run *r, const struct rule *rule)
{
	enum verdict verdict;

	r->depth++;
	verdict = run_list(r, rule->list);
	r->depth--;
	r->reason = STR("");
	return verdict;
}

enum subject run_subject(const struct run *r)
{
	static const enum subject subjects[LIST_COUNT] = {
		[LIST_CLIENT] = SUBJECT_CLIENT,           [LIST_HELO] = SUBJECT_HELO,           [LIST_SENDER] = SUBJECT_SENDER,
		[LIST_RELAY] = SUBJECT_RECIPIENT,         [LIST_RECIPIENT] = SUBJECT_RECIPIENT, [LIST_DATA] = SUBJECT_DATA,
		[LIST_END_OF_DATA] = SUBJECT_END_OF_DATA, [LIST_ETRN] = SUBJECT_ETRN,
	};

	return subjects[r->list];
}

const char *subject_class(enum subject about)
{
	static const char *const classes[SUBJECT_COUNT] = {
		[SUBJECT_CLIENT] = "Client host",
		[SUBJECT_REVERSE_CLIENT] = "Unverified Client host",
		[SUBJECT_CERTIFICATE] = "Client certificate",
		[SUBJECT_LOGIN] = "SASL login name",
		[SUBJECT_HELO] = "Helo command",
		[SUBJECT_SENDER] = "Sender address",
		[SUBJECT_RECIPIENT] = "Recipient address",
		[SUBJECT_DATA] = "Data command",
		[SUBJECT_END_OF_DATA] = "End-of-data",
		[SUBJECT_ETRN] = "Etrn command",
	};

	return classes[about];
}

struct str subject_name(struct run *r, enum subject about)
{
	const struct policy_session *s = r->s;

	switch (about) {
	case SUBJECT_CLIENT:
		return arena_printf(s->arena, "%.*s[%.*s]", STR_ARG(s->client_name), STR_ARG(s->client_address));
	case SUBJECT_REVERSE_CLIENT:
		return s->client_reverse_name;
	case SUBJECT_CERTIFICATE:
		return str_is_empty(s->ccert_subject) ? s->ccert_fingerprint : s->ccert_subject;
	case SUBJECT_LOGIN:
		return s->sasl_username;
	case SUBJECT_HELO:
		return s->helo;
	case SUBJECT_SENDER:
		return s->sender_raw;
	case SUBJECT_RECIPIENT:
		return s->recipient_raw;
	case SUBJECT_DATA:
		return STR("DATA");
	case SUBJECT_END_OF_DATA:
		return STR("END-OF-MESSAGE");
	case SUBJECT_ETRN:
		return s->etrn_domain;
	case SUBJECT_COUNT:
		break;
	}
	return STR("");
}

void run_note(struct run *r, enum policy_note_kind kind, struct str word, const char *fmt, ...)
{
	struct policy_note *note = arena_alloc(r->s->arena, sizeof(*note));
	char usual[256];
	struct buf text;
	va_list args;

	buf_init_on(&text, usual, sizeof(usual), 4096);
	va_start(args, fmt);
	buf_vaddf(&text, fmt, args);
	va_end(args);
	*note = (struct policy_note){.kind = kind, .word = word, .text = arena_str(r->s->arena, buf_str(&text))};
	buf_done(&text);
	if (r->act->last_note)
		r->act->last_note->next = note;
	else
		r->act->notes = note;
	r->act->last_note = note;
}

void run_explain(struct run *r, const char *fmt, ...)
{
	struct buf text = BUF_INIT(4096);
	va_list args;

	if (!r->p->record)
		return;
	if (!str_is_empty(r->reason))
		buf_addf(&text, "%.*s; ", STR_ARG(r->reason));
	va_start(args, fmt);
	buf_vaddf(&text, fmt, args);
	va_end(args);
	r->reason = arena_str(r->s->arena, buf_str(&text));
	buf_done(&text);
}

/* Fit for a reply line: no control characters, not longer than a client must take. */
static struct str reply_text(struct arena *a, struct str text)
{
	char *copy = arena_cstr(a, str_cut(text, 0, REPLY_SIZE_MAX));
	size_t len = size_min(text.len, REPLY_SIZE_MAX);

	for (size_t i = 0; i < len; i++)
		if ((unsigned char)copy[i] < ' ' || copy[i] == 0x7f)
			copy[i] = ' ';
	return str_n(copy, len);
}

static struct reply make_reply(struct run *r, int code, struct dsn_code dsn, struct str text)
{
	if (r->p->params->soft_bounce && code >= 500) {
		/* 5xx that end the session stay an end: 421 is the 4xx that does. */
		code = code == 521 ? 421 : code - 100;
	}
	dsn.class_digit = (uint16_t)(code / 100);
	return (struct reply){
		.code = code, .dsn = dsn, .text = reply_text(r->s->arena, text), .is_final = code == 421 || code == 521};
}

/* `is_policy` is false for faults of our own, which warn_if_reject must not hide. */
static enum verdict reject_with(struct run *r, bool is_policy, struct reply reply)
{
	if (r->is_warn_only && is_policy) {
		struct buf line = BUF_INIT(2048);

		dsn_code_format(&line, reply.dsn);
		run_note(r, NOTE_ACTION, STR("reject_warning"), "%d %.*s %.*s", reply.code, STR_ARG(buf_str(&line)),
		         STR_ARG(reply.text));
		run_explain(r, "would reject: %d %.*s %.*s", reply.code, STR_ARG(buf_str(&line)), STR_ARG(reply.text));
		buf_done(&line);
		return DUNNO;
	}
	if (r->defer_if_reject.is_armed && reply.code >= 500) {
		run_explain(r, "%d becomes the deferral that was put by", reply.code);
		reply = r->defer_if_reject.reply;
		r->defer_if_reject.is_armed = false;
	}
	r->reply = reply;
	return REJECT;
}

static struct reply subject_reply(struct run *r, enum subject about, int code, struct dsn_code dsn, struct str text)
{
	struct str name = subject_name(r, about);
	struct str line =
		arena_printf(r->s->arena, "<%.*s>: %s rejected: %.*s", STR_ARG(name), subject_class(about), STR_ARG(text));

	return make_reply(r, code, dsn, line);
}

enum verdict run_reject_subject(struct run *r, enum subject about, int code, struct dsn_code dsn, struct str text)
{
	return reject_with(r, true, subject_reply(r, about, code, dsn, text));
}

enum verdict run_reject(struct run *r, int code, struct dsn_code dsn, const char *fmt, ...)
{
	struct buf text = BUF_INIT(4096);
	struct reply reply;
	va_list args;

	va_start(args, fmt);
	buf_vaddf(&text, fmt, args);
	va_end(args);
	reply = make_reply(r, code, dsn, buf_str(&text));
	buf_done(&text);
	return reject_with(r, true, reply);
}

enum verdict run_server_error(struct run *r)
{
	return reject_with(r, false, make_reply(r, 451, DSN(4, 3, 5), STR("Server configuration error")));
}

enum verdict run_table_error(struct run *r, enum subject about)
{
	return reject_with(r, false, subject_reply(r, about, 451, DSN(4, 3, 5), STR("Server configuration error")));
}

enum verdict run_resolver_error(struct run *r, enum subject about)
{
	struct str name = subject_name(r, about);

	run_note(r, NOTE_WARNING, STR(""), "address resolver: %.*s", STR_ARG(buf_str(&r->why)));
	run_explain(r, "the resolver failed: %.*s", STR_ARG(buf_str(&r->why)));
	return reject_with(
		r, false,
		make_reply(r, 451, DSN(4, 3, 0), arena_printf(r->s->arena, "<%.*s>: Temporary lookup failure", STR_ARG(name))));
}

enum verdict run_permit(struct run *r, struct str action, enum subject about, struct str from)
{
	if (r->p->logged_permits) {
		buf_reset(&r->why);
		if (match_list_check(r->p->logged_permits, action, &r->why) > 0) {
			struct str name = subject_name(r, about);

			run_note(r, NOTE_ACTION, STR("permit"), "action=%.*s for %s=%.*s %s%.*s", STR_ARG(action),
			         subject_class(about), STR_ARG(name), str_is_empty(from) ? "" : "from ", STR_ARG(from));
		}
	}
	return PERMIT;
}

static enum verdict defer_later(struct run *r, struct policy_deferral *deferral, struct reply reply)
{
	if (r->is_warn_only)
		return reject_with(r, true, reply);
	if (!deferral->is_armed)
		*deferral = (struct policy_deferral){.is_armed = true, .reply = reply};
	return DUNNO;
}

enum verdict run_defer_if_permit(struct run *r, enum subject about, int code, struct dsn_code dsn, struct str text)
{
	return defer_later(r, &r->defer_if_permit, subject_reply(r, about, code, dsn, text));
}

enum verdict run_defer_if_reject(struct run *r, enum subject about, int code, struct dsn_code dsn, struct str text)
{
	return defer_later(r, &r->defer_if_reject, subject_reply(r, about, code, dsn, text));
}

enum verdict run_tempfail(struct run *r, struct str action, enum subject about, int code, struct dsn_code dsn, struct str text)
{
	if (str_eq_nocase(action, STR("defer")))
		return run_reject_subject(r, about, code, dsn, text);
	return run_defer_if_permit(r, about, code, dsn, text);
}

int run_recipient_route(struct run *r, const struct route **ret_route)
{
	if (!r->has_recipient_route) {
		int err;

		buf_reset(&r->why);
		err = router_resolve(r->p->router, r->s->sender, r->s->recipient, r->s->arena, &r->recipient_route, &r->why);
		if (err)
			return err;
		r->has_recipient_route = true;
	}
	*ret_route = &r->recipient_route;
	return 0;
}

int run_sender_route(struct run *r, const struct route **ret_route)
{
	if (!r->has_sender_route) {
		int err;

		buf_reset(&r->why);
		err = router_resolve(r->p->router, STR(""), r->s->sender, r->s->arena, &r->sender_route, &r->why);
		if (err)
			return err;
		r->has_sender_route = true;
	}
	*ret_route = &r->sender_route;
	return 0;
}
