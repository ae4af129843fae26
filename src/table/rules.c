/* SPDX-License-Identifier: Apache-2.0 */
/* Rule files: reading, nesting of if and endif, the walk. */
#include "table/rules.h"

#include <errno.h>

#include "table/read_file.h"
#include "table/source.h"

struct reader {
	struct rule_set *set;
	struct str label;
	size_t size;
	struct buf *why;
};

static bool is_word(struct str line, struct str word)
{
	return str_starts_nocase(line, word) && (line.len == word.len || !ascii_is_alnum(line.ptr[word.len]));
}

static struct rule *add_rule(struct reader *r)
{
	struct rule_set *set = r->set;

	if (set->count == r->size) {
		r->size = size_max(16, 2 * r->size);
		set->rules = mem_resize(set->rules, r->size * sizeof(*set->rules));
	}
	set->rules[set->count] = (struct rule){0};
	return &set->rules[set->count];
}

/* The nearest "if" that is still open, or count. */
static size_t open_if(const struct rule_set *set)
{
	for (size_t i = set->count; i-- > 0;)
		if (set->rules[i].kind == RULE_IF && set->rules[i].end == 0)
			return i;
	return set->count;
}

static void read_endif(struct reader *r, struct rule *rule, struct str rest)
{
	size_t at = open_if(r->set);

	if (rest.len > 0)
		table_warn(r->why, r->label, rule->line, "ignoring extra text after ENDIF");
	if (at == r->set->count) {
		table_warn(r->why, r->label, rule->line, "ignoring ENDIF without matching IF");
		return;
	}
	rule->kind = RULE_ENDIF;
	r->set->rules[at].end = r->set->count + 1;
	r->set->count++;
}

static void read_rule(struct reader *r, struct str line, unsigned number)
{
	struct rule *rule = add_rule(r);
	struct buf problem = BUF_INIT(1 << 16);

	rule->line = number;
	line = str_trim(line);
	if (is_word(line, STR("endif"))) {
		read_endif(r, rule, str_trim(str_from(line, 5)));
		return;
	}
	if (is_word(line, STR("if"))) {
		rule->kind = RULE_IF;
		line = str_trim(str_from(line, 2));
	}
	if (r->set->parse(r->set->type_arg, r->set, rule, line, &problem))
		r->set->count++;
	else
		table_warn(r->why, r->label, number, "%s: skipping this rule", buf_cstr(&problem));
	buf_done(&problem);
}

static int read_file_rules(struct reader *r, struct str name, struct file_stamp *stamp)
{
	struct buf bytes = BUF_INIT(TABLE_FILE_MAX);
	struct source source;
	struct str line;
	int err = read_table_file(name, &bytes, stamp, r->why);

	if (!err) {
		source_init(&source, name, buf_str(&bytes));
		while (source_next(&source, &line))
			read_rule(r, line, source.line);
		source_done(&source);
	}
	buf_done(&bytes);
	return err;
}

static int read_inline_rules(struct reader *r, struct str rules)
{
	struct str item, inside;
	unsigned number = 1;

	while (str_next_braced(&rules, ", \t\r\n", &item)) {
		if (!table_unbrace(item, &inside)) {
			buf_addf(r->why, "%.*s: bad syntax at \"%.*s\"; need {{rule}, {rule}, ...}", STR_ARG(r->label),
			         STR_ARG(item));
			return -EINVAL;
		}
		read_rule(r, inside, number++);
	}
	return 0;
}

int rules_read(struct rule_set *set, const struct table_type *type, struct str name, struct file_stamp *stamp, struct buf *why)
{
	struct reader r = {.set = set, .why = why};
	struct str inside;
	size_t at;
	int err;

	r.label = arena_printf(&set->arena, "%s map %.*s", type->name, STR_ARG(name));
	if (table_unbrace(name, &inside))
		err = read_inline_rules(&r, inside);
	else
		err = read_file_rules(&r, name, stamp);
	while (!err && (at = open_if(set)) < set->count) {
		table_warn(why, r.label, set->rules[at].line, "IF has no matching ENDIF");
		set->rules[at].end = set->count;
	}
	return err;
}

int rules_match(const struct rule_set *set, size_t *at, rule_match_fn *match, void *type_arg, const struct rule **ret_rule)
{
	while (*at < set->count) {
		const struct rule *r = &set->rules[*at];
		int result;

		++*at;
		if (r->kind == RULE_ENDIF)
			continue;
		result = match(type_arg, r);
		if (result < 0)
			return result;
		if (r->kind == RULE_MATCH && result) {
			*ret_rule = r;
			return 1;
		}
		if (r->kind == RULE_IF && !result)
			*at = r->end;
	}
	return 0;
}

void rules_done(struct rule_set *set)
{
	free(set->rules);
	arena_done(&set->arena);
}
