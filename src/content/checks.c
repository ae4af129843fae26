/* SPDX-License-Identifier: Apache-2.0 */
/* header_checks and body_checks: what the tables answer, and what then happens to the line or the message. */
#include <errno.h>

#include "config/config.h"
#include "config/params.h"
#include "content/content_internal.h"
#include "mail/address.h"
#include "mail/header.h"

enum {
	LINE_SHOWN_MAX = 200,
	MENTIONS_MAX = 1000, /* in the log, of one message: it may have millions of lines */
};

/* "QID: WORD: header TEXT from CLIENT; from=<> to=<> proto=ESMTP helo=<h>: REASON" */
static void note_action(struct draft *d, const char *word, const char *what, struct str text, struct str reason)
{
	const struct envelope *e = d->facts.envelope;
	struct arena *a = d->facts.arena;
	struct str sender = address_external(a, e->sender);
	struct buf line = BUF_INIT(2000), shown = BUF_INIT(LINE_SHOWN_MAX + 1);

	/* The log shows each line end as "?". */
	for (size_t i = 0; i < size_min(text.len, LINE_SHOWN_MAX); i++)
		if (text.ptr[i] != '\r')
			buf_add_char(&shown, text.ptr[i]);
	buf_addf(&line, "%s: %s: %s %.*s from %.*s; from=<%.*s>", e->queue_id, word, what, STR_ARG(buf_str(&shown)),
	         STR_ARG(d->facts.client), STR_ARG(sender));
	if (e->recipient_count > 0)
		buf_addf(&line, " to=<%.*s>", STR_ARG(address_external(a, e->recipients[e->recipient_count - 1].address)));
	if (e->protocol.len > 0)
		buf_addf(&line, " proto=%.*s", STR_ARG(e->protocol));
	if (e->helo.len > 0)
		buf_addf(&line, " helo=<%.*s>", STR_ARG(e->helo));
	if (reason.len > 0)
		buf_addf(&line, ": %.*s", STR_ARG(reason));
	draft_note(d, LOG_LEVEL_INFO, "%s", buf_cstr(&line));
	buf_done(&line);
	buf_done(&shown);
}

static void reject(struct draft *d, const char *what, struct str text, struct str reason)
{
	struct dsn_code dsn = DSN(5, 7, 1);
	struct str words = reason;
	int code = 550;

	if (dsn_code_parse(&words, &dsn))
		dsn = DSN(5, 7, 1);
	if (words.len == 0)
		words = STR("message content rejected");
	if (dsn.class_digit == 4)
		code = 451;
	dsn.class_digit = (uint16_t)(code / 100);
	note_action(d, "reject", what, text,
	            arena_printf(d->facts.arena, "%u.%u.%u %.*s", dsn.class_digit, dsn.subject, dsn.detail, STR_ARG(words)));
	draft_fail(d, code, dsn, arena_cstr(d->facts.arena, words));
}

/* The arena frees nothing, and a message may have many lines that ask for a copy: the room doubles. */
static void add_recipient(struct draft *d, struct recipient r)
{
	struct envelope *e = d->facts.envelope;

	if (e->recipient_count >= d->recipient_room) {
		size_t room = 2 * (size_t)e->recipient_count + 2;
		struct recipient *all = arena_alloc(d->facts.arena, room * sizeof(*all));

		if (e->recipient_count > 0)
			memcpy(all, e->recipients, e->recipient_count * sizeof(*all));
		e->recipients = all;
		d->recipient_room = room;
	}
	e->recipients[e->recipient_count++] = r;
}

static void redirect(struct draft *d, struct str address)
{
	struct envelope *e = d->facts.envelope;
	struct str original = e->recipient_count > 0 ? e->recipients[0].address : STR("");

	e->recipients = arena_alloc(d->facts.arena, sizeof(*e->recipients));
	e->recipients[0] = (struct recipient){.address = arena_str(d->facts.arena, address), .original = original};
	e->recipient_count = 1;
	d->recipient_room = 1;
	e->filter = STR("");
}

enum needed { NEEDS_NOTHING, NEEDS_TEXT, NEEDS_ADDRESS, NEEDS_TRANSPORT, NEEDS_HEADER };

/* Words that only log, and those that change something; `word` is what the log says. */
static const struct action {
	struct str name;
	const char *word; /* NULL: not logged */
	enum needed needs;
	enum check_outcome outcome;
} actions[] = {
	{{"BCC", 3}, "bcc", NEEDS_ADDRESS, CHECK_KEEP},           {{"DISCARD", 7}, "discard", NEEDS_NOTHING, CHECK_STOP},
	{{"DUNNO", 5}, NULL, NEEDS_NOTHING, CHECK_KEEP},          {{"FILTER", 6}, "filter", NEEDS_TRANSPORT, CHECK_KEEP},
	{{"HOLD", 4}, "hold", NEEDS_NOTHING, CHECK_KEEP},         {{"IGNORE", 6}, NULL, NEEDS_NOTHING, CHECK_DROP},
	{{"INFO", 4}, "info", NEEDS_NOTHING, CHECK_KEEP},         {{"OK", 2}, NULL, NEEDS_NOTHING, CHECK_KEEP},
	{{"PASS", 4}, "pass", NEEDS_NOTHING, CHECK_PASS},         {{"PREPEND", 7}, "prepend", NEEDS_HEADER, CHECK_KEEP},
	{{"REDIRECT", 8}, "redirect", NEEDS_ADDRESS, CHECK_KEEP}, {{"REJECT", 6}, NULL, NEEDS_NOTHING, CHECK_STOP},
	{{"REPLACE", 7}, "replace", NEEDS_HEADER, CHECK_REPLACE}, {{"STRIP", 5}, "strip", NEEDS_NOTHING, CHECK_DROP},
	{{"WARN", 4}, "warning", NEEDS_NOTHING, CHECK_KEEP},
};

static const struct action *find_action(struct str name)
{
	for (size_t i = 0; i < COUNT_OF(actions); i++)
		if (str_eq_nocase(actions[i].name, name))
			return &actions[i];
	return NULL;
}

/* NULL when the argument will do, else what is wanted. */
static const char *bad_argument(const struct action *act, const char *what, struct str argument)
{
	bool is_header = what[0] == 'h';

	switch (act->needs) {
	case NEEDS_NOTHING:
		return NULL;
	case NEEDS_TEXT:
		return argument.len > 0 ? NULL : "text";
	case NEEDS_ADDRESS:
		return str_has(argument, '@') ? NULL : "user@domain";
	case NEEDS_TRANSPORT:
		return str_has(argument, ':') ? NULL : "transport:destination";
	case NEEDS_HEADER:
		return argument.len > 0 && (!is_header || header_name_len(argument) > 0) ? NULL : "\"headername: headervalue\"";
	}
	return NULL;
}

static void apply(struct draft *d, const struct action *act, const char *what, struct str text, struct str argument)
{
	struct envelope *e = d->facts.envelope;

	if (str_eq(act->name, STR("REJECT")))
		reject(d, what, text, argument);
	else if (str_eq(act->name, STR("DISCARD")))
		d->is_discarded = true;
	else if (str_eq(act->name, STR("HOLD")))
		e->flags |= ENVELOPE_HOLD;
	else if (str_eq(act->name, STR("FILTER")))
		e->filter = argument;
	else if (str_eq(act->name, STR("REDIRECT")))
		redirect(d, argument);
	else if (str_eq(act->name, STR("BCC")))
		add_recipient(d, (struct recipient){.address = argument, .notify = NOTIFY_NEVER});
}

static bool may_mention_more(struct draft *d)
{
	if (++d->mention_count < MENTIONS_MAX)
		return true;
	if (d->mention_count == MENTIONS_MAX)
		draft_note(d, LOG_LEVEL_WARN, "%s: %d lines for the log: more of what checks find is not told",
		           d->facts.envelope->queue_id, MENTIONS_MAX);
	return false;
}

/* What ends the message is always told. */
static bool is_mentioned(struct draft *d, const struct action *act)
{
	if (!act->word || (str_eq(act->name, STR("HOLD")) && (d->facts.envelope->flags & ENVELOPE_HOLD)))
		return false;
	return act->outcome == CHECK_STOP || may_mention_more(d);
}

/* What a table says of a line, carried out. Only what is still needed afterwards is put into the message's memory. */
static void obey(struct draft *d, struct str value, const char *what, struct str text, struct check_result *r)
{
	struct str name = str_cut(value, 0, str_find_any(value, " \t")), argument = str_trim(str_from(value, name.len));
	const struct action *act = find_action(name);

	if (!act) {
		if (may_mention_more(d))
			draft_note(d, LOG_LEVEL_WARN, "unknown command in %s_checks map: %.*s", what, STR_ARG(value));
		return;
	}
	if (bad_argument(act, what, argument)) {
		if (may_mention_more(d))
			draft_note(d, LOG_LEVEL_WARN, "bad %.*s command \"%.*s\" in %s_checks map -- need %s", STR_ARG(act->name),
			           STR_ARG(argument), what, bad_argument(act, what, argument));
		return;
	}
	if (act->needs != NEEDS_NOTHING)
		argument = arena_str(d->facts.arena, argument);
	if (is_mentioned(d, act))
		note_action(d, act->word, what, text, argument);
	apply(d, act, what, text, argument);
	r->outcome = act->outcome;
	if (str_eq(act->name, STR("PREPEND")))
		r->prepend = argument;
	if (act->outcome == CHECK_REPLACE)
		r->replace = argument;
}

struct check_result check_line(struct draft *d, struct maps *m, const char *what, struct str text)
{
	struct check_result r = {.outcome = CHECK_KEEP};
	struct arena a = ARENA_INIT;
	struct str value;
	struct buf why = BUF_INIT(500);
	char *end = d->base + (text.ptr - d->base) + text.len, after;
	int err;

	/* The C library's matcher likes its text to end in a NUL; a line end stands there, or room that is kept free for it. */
	after = *end;
	*end = '\0';
	err = maps_find(m, text, false, &a, &value, &why);
	*end = after;
	if (err && err != -ENOENT)
		draft_fail_lookup(d, what[0] == 'h' ? "header_checks" : "body_checks", STR("a line"));
	else if (!err)
		obey(d, str_trim(value), what, text, &r);
	buf_done(&why);
	arena_done(&a);
	return r;
}
