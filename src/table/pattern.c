/* SPDX-License-Identifier: Apache-2.0 */
/* Pattern tables: the rules' syntax and the substitution of $1 in results. */
#include "table/pattern.h"

#include <errno.h>

enum { RESULT_MAX = 1 << 20 };

/* A compiled pattern, and its result cut into texts and group numbers. */
struct piece {
	struct str text;
	int group; /* -1: text */
};

struct pattern {
	void *code;
	size_t groups;
	struct piece *pieces;
	size_t piece_count;
};

struct pattern_table {
	struct table table;
	const struct pattern_engine *engine;
	struct rule_set rules;
	unsigned flags;
	struct span spans[PATTERN_GROUPS];
};

/* One question: the table, the key, where errors go. */
struct question {
	struct pattern_table *pt;
	struct str key;
	struct buf *why;
};

static void add_piece(struct arena *a, struct pattern *p, struct str text, int group)
{
	struct piece *pieces;

	if (group < 0 && text.len == 0)
		return;
	pieces = arena_alloc(a, (p->piece_count + 1) * sizeof(*pieces));
	if (p->piece_count > 0)
		memcpy(pieces, p->pieces, p->piece_count * sizeof(*pieces));
	pieces[p->piece_count++] = (struct piece){text, group};
	p->pieces = pieces;
}

/* Takes a group's name behind "$": 1, {1} or (1). */
static struct str take_group(struct str *rest)
{
	struct str name;
	size_t end = 0;

	if (rest->len > 0 && (rest->ptr[0] == '{' || rest->ptr[0] == '(')) {
		end = str_find(*rest, rest->ptr[0] == '{' ? '}' : ')');
		name = str_cut(*rest, 1, end - 1);
		*rest = str_from(*rest, end + 1);
		return name;
	}
	while (end < rest->len && (ascii_is_alnum(rest->ptr[end]) || rest->ptr[end] == '_'))
		end++;
	name = str_cut(*rest, 0, end);
	*rest = str_from(*rest, end);
	return name;
}

static bool parse_result(struct pattern_table *pt, struct pattern *p, struct rule *r, struct buf *why)
{
	struct arena *a = &pt->rules.arena;
	struct str rest = r->value;

	while (rest.len > 0) {
		size_t at = str_find(rest, '$');
		unsigned long long number;
		struct str name;

		add_piece(a, p, str_cut(rest, 0, at), -1);
		rest = str_from(rest, at);
		if (rest.len == 0)
			break;
		rest = str_from(rest, 1);
		if (rest.len > 0 && rest.ptr[0] == '$') {
			add_piece(a, p, STR("$"), -1);
			rest = str_from(rest, 1);
			continue;
		}
		name = take_group(&rest);
		if (str_parse_u64(name, &number) != 0) {
			buf_addf(why, "non-numeric replacement index \"%.*s\" (write $$ for a dollar sign)", STR_ARG(name));
			return false;
		}
		if (r->is_negated) {
			buf_addf(why, "$number found in negative match replacement text");
			return false;
		}
		if (pt->flags & TABLE_NO_REGSUB) {
			buf_addf(why, "$%llu is not allowed in this table, for reasons of security", number);
			return false;
		}
		if (number < 1 || number > p->groups || number >= PATTERN_GROUPS) {
			buf_addf(why, "out of range replacement index \"%llu\"", number);
			return false;
		}
		add_piece(a, p, (struct str){NULL, 0}, (int)number);
	}
	return true;
}

/* Cuts "/pattern/flags rest" into its parts. */
static bool cut_pattern(struct str *text, struct str *ret_pattern, struct str *ret_flags, struct buf *why)
{
	char delimiter;
	size_t end = 1;

	if (text->len == 0 || ascii_is_alnum(text->ptr[0])) {
		buf_addf(why, "the pattern must begin with a delimiter such as \"/\"");
		return false;
	}
	delimiter = text->ptr[0];
	while (end < text->len && text->ptr[end] != delimiter)
		end += text->ptr[end] == '\\' ? 2 : 1;
	if (end >= text->len) {
		buf_addf(why, "no closing regexp delimiter \"%c\"", delimiter);
		return false;
	}
	*ret_pattern = str_cut(*text, 1, end - 1);
	*text = str_from(*text, end + 1);
	end = str_find_any(*text, " \t\r\v\f");
	*ret_flags = str_cut(*text, 0, end);
	*text = str_trim(str_from(*text, end));
	return true;
}

static bool pattern_parse(void *type_arg, struct rule_set *set, struct rule *r, struct str text, struct buf *why)
{
	struct pattern_table *pt = type_arg;
	struct pattern *p = arena_alloc(&set->arena, sizeof(*p));
	struct str expression, flags;

	while (text.len > 0 && text.ptr[0] == '!') {
		r->is_negated = !r->is_negated;
		text = str_trim(str_from(text, 1));
	}
	if (!cut_pattern(&text, &expression, &flags, why))
		return false;
	if (pt->engine->compile(expression, flags, &p->code, &p->groups, why) != 0)
		return false;
	r->pattern = p;
	r->value = arena_str(&set->arena, text);
	if (r->kind == RULE_MATCH && !parse_result(pt, p, r, why)) {
		pt->engine->free(p->code);
		return false;
	}
	return true;
}

int pattern_open(const struct table_type *type, const struct pattern_engine *engine, struct str name, unsigned flags,
                 struct table **ret_table, struct buf *why)
{
	struct pattern_table *pt = mem_alloc(sizeof(*pt));
	int err;

	pt->engine = engine;
	pt->flags = flags;
	pt->rules.parse = pattern_parse;
	pt->rules.type_arg = pt;
	err = rules_read(&pt->rules, type, name, &pt->table.file, why);
	if (err) {
		pattern_close(&pt->table);
		file_stamp_done(&pt->table.file);
		free(pt);
		return err;
	}
	*ret_table = &pt->table;
	return 0;
}

void pattern_close(struct table *t)
{
	struct pattern_table *pt = (struct pattern_table *)t;

	for (size_t i = 0; i < pt->rules.count; i++)
		if (pt->rules.rules[i].pattern)
			pt->engine->free(((struct pattern *)pt->rules.rules[i].pattern)->code);
	rules_done(&pt->rules);
}

static int pattern_match(void *arg, const struct rule *r)
{
	struct question *q = arg;
	const struct pattern *p = r->pattern;
	int result = q->pt->engine->match(p->code, q->key, q->pt->spans, q->why);

	return result < 0 ? result : (result != 0) != r->is_negated;
}

static struct str fill_result(const struct pattern_table *pt, const struct pattern *p, struct str key, struct arena *a)
{
	struct buf text = BUF_INIT(RESULT_MAX);
	struct str result;

	for (size_t i = 0; i < p->piece_count; i++) {
		const struct piece *piece = &p->pieces[i];
		const struct span *span = &pt->spans[piece->group < 0 ? 0 : piece->group];

		if (piece->group < 0)
			buf_add(&text, piece->text);
		else if (span->from != PATTERN_UNSET)
			buf_add(&text, str_cut(key, span->from, span->to - span->from));
	}
	result = arena_str(a, buf_str(&text));
	buf_done(&text);
	return result;
}

int pattern_find(struct table *t, struct str key, struct arena *a, struct str *ret_value, struct buf *why)
{
	struct pattern_table *pt = (struct pattern_table *)t;
	struct question q = {pt, key, why};
	const struct rule *r;
	size_t at = 0;
	int result = rules_match(&pt->rules, &at, pattern_match, &q, &r);

	if (result <= 0)
		return result < 0 ? result : -ENOENT;
	*ret_value = fill_result(pt, r->pattern, key, a);
	return 0;
}
