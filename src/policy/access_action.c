/* SPDX-License-Identifier: Apache-2.0 */
/* What the right-hand side of an access table, or a policy server's action, makes us do: access(5). */
#include <stdio.h>

#include "policy/policy_internal.h"

/* A result taken apart: the first word, what follows it, and where it came from. */
struct result {
	struct str source, key, word, text;
	enum subject about;
};

typedef enum verdict action_fn(struct run *r, const struct result *res) WAITS;

enum { ACTION_FOR_MESSAGE = 1 }; /* needs a message: not at ETRN, not before MAIL */

struct action {
	const char *name;
	action_fn *run;
	unsigned flags;
};

struct dsn_code access_fix_dsn(struct dsn_code dsn, enum subject about)
{
	static const uint8_t sender[] = {0, 7, 8, 7, 7, 0, 7, 7, 8};
	static const uint8_t recipient[] = {0, 1, 2, 3, 4, 5, 6, 3, 2};

	if (dsn.subject != 1)
		return dsn;
	if (about == SUBJECT_SENDER)
		dsn.detail = dsn.detail < COUNT_OF(sender) ? sender[dsn.detail] : 0;
	else if (about == SUBJECT_RECIPIENT)
		dsn.detail = dsn.detail < COUNT_OF(recipient) ? recipient[dsn.detail] : 0;
	else
		dsn.subject = dsn.detail = 0;
	return dsn;
}

/* Takes "5.7.1" off the front of *text, or `otherwise`; corrects it and says so. */
static struct dsn_code take_dsn(struct run *r, const struct result *res, struct dsn_code otherwise, struct str *text)
{
	struct dsn_code dsn = otherwise;
	struct dsn_code fixed;

	*text = res->text;
	if (dsn_code_parse(text, &dsn))
		return otherwise;
	*text = str_trim(*text);
	fixed = access_fix_dsn(dsn, res->about);
	if (fixed.subject != dsn.subject || fixed.detail != dsn.detail)
		run_note(r, NOTE_INFO, STR(""), "mapping DSN status %u.%u.%u into %s status %u.%u.%u", dsn.class_digit,
		         dsn.subject, dsn.detail, subject_class(res->about), fixed.class_digit, fixed.subject, fixed.detail);
	return fixed;
}

static enum verdict reject_as(struct run *r, const struct result *res, int code, struct dsn_code otherwise)
{
	struct str text;
	struct dsn_code dsn = take_dsn(r, res, otherwise, &text);

	return run_reject_subject(r, res->about, code, dsn, str_is_empty(text) ? STR("Access denied") : text);
}

static enum verdict act_ok(struct run *r, const struct result *res)
{
	return run_permit(r, res->word, res->about, res->source);
}

static enum verdict act_dunno(struct run *r, const struct result *res)
{
	return DUNNO;
}

static enum verdict act_reject(struct run *r, const struct result *res)
{
	return reject_as(r, res, (int)r->p->params->access_map_reject_code, DSN(5, 7, 1));
}

static enum verdict act_defer(struct run *r, const struct result *res)
{
	return reject_as(r, res, (int)r->p->params->access_map_defer_code, DSN(4, 7, 1));
}

static enum verdict act_defer_if_permit(struct run *r, const struct result *res)
{
	struct str text;
	struct dsn_code dsn = take_dsn(r, res, DSN(4, 7, 1), &text);

	return run_defer_if_permit(r, res->about, (int)r->p->params->access_map_defer_code, dsn,
	                           str_is_empty(text) ? STR("Service unavailable") : text);
}

static enum verdict act_defer_if_reject(struct run *r, const struct result *res)
{
	struct str text;
	struct dsn_code dsn = take_dsn(r, res, DSN(4, 7, 1), &text);

	return run_defer_if_reject(r, res->about, (int)r->p->params->access_map_defer_code, dsn,
	                           str_is_empty(text) ? STR("Service unavailable") : text);
}

/* The log line of an action: "<name>: Sender address triggers HOLD action", or with the operator's text. */
static void note_action(struct run *r, const struct result *res, const char *word, const char *otherwise, struct str text)
{
	struct str name = subject_name(r, res->about);

	run_note(r, NOTE_ACTION, str_of(word), "<%.*s>: %s %s%.*s", STR_ARG(name), subject_class(res->about), otherwise,
	         STR_ARG(text));
}

static enum verdict act_hold(struct run *r, const struct result *res)
{
	if (!r->act->is_held)
		note_action(r, res, "hold", "", str_is_empty(res->text) ? STR("triggers HOLD action") : res->text);
	r->act->is_held = true;
	return DUNNO;
}

static enum verdict act_discard(struct run *r, const struct result *res)
{
	note_action(r, res, "discard", "", str_is_empty(res->text) ? STR("triggers DISCARD action") : res->text);
	r->act->is_discarded = true;
	return run_permit(r, res->word, res->about, res->source);
}

static enum verdict act_hangup(struct run *r, const struct result *res)
{
	note_action(r, res, "hangup", "", str_is_empty(res->text) ? STR("triggers HANGUP action") : res->text);
	r->act->is_hangup = true;
	return DUNNO;
}

static void warn_entry(struct run *r, const struct result *res, const char *needs)
{
	run_note(r, NOTE_WARNING, STR(""), "access table %.*s entry \"%.*s\" requires %s", STR_ARG(res->source),
	         STR_ARG(res->key), needs);
}

static enum verdict act_filter(struct run *r, const struct result *res)
{
	if (!str_has(res->text, ':')) {
		warn_entry(r, res, "transport:destination");
		return DUNNO;
	}
	note_action(r, res, "filter", "triggers FILTER ", res->text);
	r->act->filter = arena_str(r->s->arena, res->text);
	return DUNNO;
}

static enum verdict act_redirect(struct run *r, const struct result *res)
{
	if (!str_has(res->text, '@')) {
		warn_entry(r, res, "user@domain target");
		return DUNNO;
	}
	note_action(r, res, "redirect", "triggers REDIRECT ", res->text);
	r->act->redirect = arena_str(r->s->arena, res->text);
	return DUNNO;
}

/* Arrays of an action grow in the arena, which frees nothing: by doubling, the waste is at most as much again. */
static void add_str(struct run *r, struct str **list, size_t *count, struct str item)
{
	if ((*count & (*count - 1)) == 0) {
		struct str *larger = arena_alloc(r->s->arena, sizeof(item) * (*count ? *count * 2 : 1));

		if (*count)
			memcpy(larger, *list, sizeof(item) * *count);
		*list = larger;
	}
	(*list)[(*count)++] = arena_str(r->s->arena, item);
}

static enum verdict act_bcc(struct run *r, const struct result *res)
{
	if (!str_has(res->text, '@')) {
		warn_entry(r, res, "user@domain target");
		return DUNNO;
	}
	note_action(r, res, "bcc", "triggers BCC ", res->text);
	add_str(r, &r->act->bccs, &r->act->bcc_count, res->text);
	return DUNNO;
}

/* "Name: value" with a name that a header may have. */
static bool is_header(struct str text)
{
	size_t colon = str_find(text, ':');

	if (colon == 0 || colon == text.len)
		return false;
	for (size_t i = 0; i < colon; i++)
		if ((unsigned char)text.ptr[i] <= ' ' || (unsigned char)text.ptr[i] >= 0x7f)
			return false;
	return true;
}

static enum verdict act_prepend(struct run *r, const struct result *res)
{
	if (r->list == LIST_END_OF_DATA) {
		run_note(r, NOTE_WARNING, STR(""),
		         "access table %.*s: action PREPEND must be used before smtpd_end_of_data_restrictions",
		         STR_ARG(res->source));
		return DUNNO;
	}
	if (!is_header(res->text)) {
		warn_entry(r, res, "header: text");
		return DUNNO;
	}
	add_str(r, &r->act->prepends, &r->act->prepend_count, res->text);
	return DUNNO;
}

static enum verdict act_warn(struct run *r, const struct result *res)
{
	run_note(r, NOTE_ACTION, STR("warn"), "%.*s", STR_ARG(res->text));
	return DUNNO;
}

static enum verdict act_info(struct run *r, const struct result *res)
{
	run_note(r, NOTE_ACTION, STR("info"), "%.*s", STR_ARG(res->text));
	return DUNNO;
}

static const struct action actions[] = {
	{"OK", act_ok, 0},
	{"RELAY", act_ok, 0},
	{"DUNNO", act_dunno, 0},
	{"REJECT", act_reject, 0},
	{"DEFER", act_defer, 0},
	{"DEFER_IF_PERMIT", act_defer_if_permit, 0},
	{"DEFER_IF_REJECT", act_defer_if_reject, 0},
	{"HANGUP", act_hangup, 0},
	{"HOLD", act_hold, ACTION_FOR_MESSAGE},
	{"DISCARD", act_discard, ACTION_FOR_MESSAGE},
	{"FILTER", act_filter, ACTION_FOR_MESSAGE},
	{"REDIRECT", act_redirect, ACTION_FOR_MESSAGE},
	{"BCC", act_bcc, ACTION_FOR_MESSAGE},
	{"PREPEND", act_prepend, ACTION_FOR_MESSAGE},
	{"WARN", act_warn, 0},
	{"INFO", act_info, 0},
};

/* An action for a message where there can be none: a warning, and on. */
static bool is_too_early(struct run *r, const struct result *res, const struct action *action)
{
	if (!(action->flags & ACTION_FOR_MESSAGE))
		return false;
	if (r->list == LIST_ETRN) {
		run_note(r, NOTE_WARNING, STR(""), "access table %.*s: action %s is unavailable in smtpd_etrn_restrictions",
		         STR_ARG(res->source), action->name);
		return true;
	}
	if (!r->p->params->smtpd_delay_reject && (r->list == LIST_CLIENT || r->list == LIST_HELO)) {
		run_note(r, NOTE_WARNING, STR(""),
		         "access table %.*s: with smtpd_delay_reject=no, action %s is always skipped in Client host or Helo "
		         "command "
		         "restrictions",
		         STR_ARG(res->source), action->name);
		return true;
	}
	return false;
}

/* Anything else is a list of restrictions, which cannot hold tables. */
static enum verdict act_restrictions(struct run *r, const struct result *res, struct str value)
{
	struct rule_list list;
	enum verdict verdict;

	if (str_has(value, ':')) {
		run_note(r, NOTE_WARNING, STR(""), "access table %.*s has entry with lookup table: %.*s", STR_ARG(res->source),
		         STR_ARG(value));
		run_note(r, NOTE_WARNING, STR(""), "do not specify lookup tables inside SMTPD access maps");
		run_note(r, NOTE_WARNING, STR(""), "define a restriction class and specify its name instead.");
		return run_server_error(r);
	}
	policy_parse_result(r->p, r->list, value, r->s->arena, &list);
	r->depth++;
	verdict = run_list(r, &list);
	r->depth--;
	return verdict;
}

static bool is_all_digits(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!ascii_is_digit(s.ptr[i]))
			return false;
	return s.len > 0;
}

enum verdict access_act(struct run *r, struct str source, struct str key, struct str value, enum subject about)
{
	struct result res = {.source = source, .key = key, .about = about};
	struct str rest = str_trim(value);

	value = rest;
	res.word = str_cut(value, 0, str_find_any(value, " \t"));
	res.text = str_trim(str_from(value, res.word.len));
	if (is_all_digits(value))
		return act_ok(r, &res);
	if (res.word.len == 3 && is_all_digits(res.word) && (res.word.ptr[0] == '4' || res.word.ptr[0] == '5')) {
		int code = (res.word.ptr[0] - '0') * 100 + (res.word.ptr[1] - '0') * 10 + (res.word.ptr[2] - '0');

		return reject_as(r, &res, code, DSN((uint16_t)(code / 100), 7, 1));
	}
	for (size_t i = 0; i < COUNT_OF(actions); i++)
		if (str_eq_nocase(res.word, str_of(actions[i].name))) {
			/* At ETRN Postfix refuses; a message that is not there cannot be held. */
			if (is_too_early(r, &res, &actions[i]))
				return DUNNO;
			return actions[i].run(r, &res);
		}
	return act_restrictions(r, &res, value);
}
