/* SPDX-License-Identifier: Apache-2.0 */
/* The expansion language of main.cf. See expand.h for what it says. */
#include "config/expand.h"

#include <errno.h>

enum { DEPTH_MAX = 50, VALUE_MAX = 1 << 22 };

enum compare_op { OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE };

/* The longer of two operators that begin alike comes first. */
static const struct operator_name {
	struct str text;
	enum compare_op op;
} operators[] = {
	{STR("=="), OP_EQ}, {STR("!="), OP_NE}, {STR("<="), OP_LE}, {STR("<"), OP_LT}, {STR(">="), OP_GE}, {STR(">"), OP_GT},
};

static int fail(struct expand *e, const char *why)
{
	e->why = why;
	return -EINVAL;
}

static bool is_name_char(char c)
{
	return ascii_is_alnum(c) || c == '_';
}

static struct str skip_space(struct str s)
{
	while (s.len > 0 && ascii_is_space(s.ptr[0]))
		s = str_from(s, 1);
	return s;
}

static struct str take_name(struct str *rest)
{
	size_t n = 0;

	while (n < rest->len && is_name_char(rest->ptr[n]))
		n++;
	struct str name = str_cut(*rest, 0, n);
	*rest = str_from(*rest, n);
	return name;
}

/* The inside of the bracket that *rest begins with, and *rest behind its end. */
static int take_bracket(struct expand *e, struct str *rest, struct str *ret_inside)
{
	const char open = rest->ptr[0];
	const char close = open == '{' ? '}' : ')';
	size_t level = 0;

	for (size_t i = 0; i < rest->len; i++) {
		if (rest->ptr[i] == open)
			level++;
		if (rest->ptr[i] == close && --level == 0) {
			*ret_inside = str_cut(*rest, 1, i - 1);
			*rest = str_from(*rest, i + 1);
			return 0;
		}
	}
	return fail(e, open == '{' ? "a closing } is missing" : "a closing ) is missing");
}

static bool starts_brace(struct str s)
{
	return s.len > 0 && s.ptr[0] == '{';
}

/* The two texts of a condition; an absent one is empty. `rest` begins with ? or : or is empty. */
static int take_branches(struct expand *e, struct str rest, struct str *ret_yes, struct str *ret_no)
{
	*ret_yes = *ret_no = STR("");
	if (str_is_empty(rest))
		return 0;
	if (rest.ptr[0] == '?') {
		rest = str_from(rest, 1);
		struct str braced = skip_space(rest);
		if (!starts_brace(braced)) {
			*ret_yes = rest;
			return 0;
		}
		int err = take_bracket(e, &braced, ret_yes);
		rest = skip_space(braced);
		if (err || str_is_empty(rest))
			return err;
	}
	if (rest.ptr[0] != ':')
		return fail(e, "expected : or the end of the ${...}");
	rest = str_from(rest, 1);
	struct str braced = skip_space(rest);
	if (!starts_brace(braced)) {
		*ret_no = rest;
		return 0;
	}
	int err = take_bracket(e, &braced, ret_no);
	if (!err && !str_is_empty(skip_space(braced)))
		return fail(e, "there is text behind the closing } of a condition");
	return err;
}

static bool is_digits(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!ascii_is_digit(s.ptr[i]))
			return false;
	return s.len > 0;
}

static struct str skip_zeros(struct str s)
{
	while (s.len > 1 && s.ptr[0] == '0')
		s = str_from(s, 1);
	return s;
}

/* Numbers of any length, and other texts byte by byte. */
static int compare_values(struct str a, struct str b)
{
	if (is_digits(a) && is_digits(b)) {
		a = skip_zeros(a);
		b = skip_zeros(b);
		if (a.len != b.len)
			return a.len < b.len ? -1 : 1;
	}
	return str_cmp(a, b);
}

/* "3", "3.6" or "3.6.1"; parts that are not there count as 0. */
static int parse_level(struct str text, unsigned long long ret_parts[3])
{
	for (int i = 0; i < 3; i++) {
		size_t end = str_find(text, '.');

		ret_parts[i] = 0;
		if (i > 0 && text.ptr == NULL)
			continue;
		if (str_parse_u64(str_cut(text, 0, end), &ret_parts[i]))
			return -EINVAL;
		text = end < text.len ? str_from(text, end + 1) : (struct str){0};
	}
	return text.ptr ? -EINVAL : 0;
}

int expand_compare_levels(struct str a, struct str b, int *ret_order)
{
	unsigned long long one[3], two[3];

	if (parse_level(a, one) || parse_level(b, two))
		return -EINVAL;
	*ret_order = 0;
	for (int i = 0; i < 3 && *ret_order == 0; i++)
		*ret_order = one[i] < two[i] ? -1 : one[i] > two[i];
	return 0;
}

static bool order_holds(enum compare_op op, int order)
{
	switch (op) {
	case OP_EQ:
		return order == 0;
	case OP_NE:
		return order != 0;
	case OP_LT:
		return order < 0;
	case OP_LE:
		return order <= 0;
	case OP_GT:
		return order > 0;
	case OP_GE:
		return order >= 0;
	}
	return false;
}

static int take_operator(struct expand *e, struct str *rest, enum compare_op *ret_op, bool *ret_by_level)
{
	*rest = skip_space(*rest);
	for (size_t i = 0; i < COUNT_OF(operators); i++)
		if (str_starts(*rest, operators[i].text)) {
			*rest = str_from(*rest, operators[i].text.len);
			*ret_op = operators[i].op;
			*ret_by_level = str_starts(*rest, STR("level"));
			if (*ret_by_level)
				*rest = str_from(*rest, 5);
			*rest = skip_space(*rest);
			return 0;
		}
	return fail(e, "expected one of == != < <= > >=");
}

static int compare_texts(struct expand *e, struct str left, struct str right, bool by_level, int *ret_order)
{
	struct buf a = BUF_INIT(VALUE_MAX), b = BUF_INIT(VALUE_MAX);
	int err = expand_text(e, left, &a);

	if (!err)
		err = expand_text(e, right, &b);
	if (!err && by_level && expand_compare_levels(buf_str(&a), buf_str(&b), ret_order))
		err = fail(e, "a compatibility level is a version such as 3.6");
	if (!err && !by_level)
		*ret_order = compare_values(buf_str(&a), buf_str(&b));
	buf_done(&a);
	buf_done(&b);
	return err;
}

/* {x} == {y} and its branches. Without branches it gives "true" or nothing. */
static int expand_comparison(struct expand *e, struct str rest, struct buf *to)
{
	struct str left, right, yes, no;
	enum compare_op op;
	bool by_level;
	int order = 0;
	int err = take_bracket(e, &rest, &left);

	if (!err)
		err = take_operator(e, &rest, &op, &by_level);
	if (!err && !starts_brace(rest))
		err = fail(e, "expected {text} behind the comparison");
	if (!err)
		err = take_bracket(e, &rest, &right);
	if (!err)
		err = compare_texts(e, left, right, by_level, &order);
	rest = skip_space(rest);
	if (!err && str_is_empty(rest))
		yes = STR("true"), no = STR("");
	else if (!err)
		err = take_branches(e, rest, &yes, &no);
	return err ? err : expand_text(e, order_holds(op, order) ? yes : no, to);
}

static int expand_name(struct expand *e, struct str name, struct buf *to)
{
	struct str value = {0};
	int err = e->get(e, name, false, &value);

	if (!err)
		buf_add(to, value);
	return err == -ENOENT ? 0 : err;
}

static int expand_condition(struct expand *e, struct str name, struct str rest, struct buf *to)
{
	struct str value = {0}, yes, no;
	int err = e->get(e, name, true, &value);

	if (err && err != -ENOENT)
		return err;
	err = take_branches(e, rest, &yes, &no);
	return err ? err : expand_text(e, str_is_empty(value) ? no : yes, to);
}

/* ASCII in lower case. A label that is not ASCII stays as it is: what needs A-labels makes them when it uses the name. */
static int expand_function(struct expand *e, struct str name, struct str rest, struct buf *to)
{
	struct str argument;
	struct buf value = BUF_INIT(VALUE_MAX);

	if (!str_eq(name, STR("domain_to_ascii")))
		return fail(e, "unknown function; the only one is domain_to_ascii");
	int err = take_bracket(e, &rest, &argument);
	if (!err && !str_is_empty(skip_space(rest)))
		err = fail(e, "there is text behind the closing } of a function");
	if (!err)
		err = expand_text(e, argument, &value);
	for (size_t i = 0; !err && i < value.len; i++)
		buf_add_char(to, ascii_lower(value.ptr[i]));
	buf_done(&value);
	return err;
}

/* What stands between ${ and }. */
static int expand_bracketed(struct expand *e, struct str inside, struct buf *to)
{
	struct str rest = skip_space(inside);

	if (starts_brace(rest))
		return expand_comparison(e, rest, to);
	struct str name = take_name(&rest);
	if (str_is_empty(name))
		return fail(e, "a name is missing behind $");
	if (starts_brace(rest))
		return expand_function(e, name, rest, to);
	struct str behind = skip_space(rest);
	if (str_is_empty(behind))
		return expand_name(e, name, to);
	if (behind.ptr[0] != '?' && behind.ptr[0] != ':')
		return fail(e, "a name holds letters, digits and _ only; behind it stands ? or : or the closing bracket");
	return expand_condition(e, name, behind, to);
}

/* One $..., *rest beginning behind the dollar sign. */
static int expand_dollar(struct expand *e, struct str *rest, struct buf *to)
{
	const char c = rest->len > 0 ? rest->ptr[0] : '\0';

	if (c == '$') {
		buf_add_char(to, '$');
		*rest = str_from(*rest, 1);
		return 0;
	}
	if (c == '{' || c == '(') {
		struct str inside;
		int err = take_bracket(e, rest, &inside);

		return err ? err : expand_bracketed(e, inside, to);
	}
	struct str name = take_name(rest);
	if (str_is_empty(name))
		return fail(e, "a name is missing behind $ (write $$ for a dollar sign)");
	return expand_name(e, name, to);
}

int expand_text(struct expand *e, struct str text, struct buf *to)
{
	int err = 0;

	if (e->depth >= DEPTH_MAX) {
		e->why = "conditions are nested too deep";
		return -ELOOP;
	}
	e->depth++;
	while (!err && text.len > 0) {
		size_t at = str_find(text, '$');

		buf_add(to, str_cut(text, 0, at));
		text = str_from(text, at);
		if (text.len > 0) {
			text = str_from(text, 1);
			err = expand_dollar(e, &text, to);
		}
	}
	e->depth--;
	if (!err && buf_check(to)) {
		e->why = "the expanded value is too long";
		err = -EMSGSIZE;
	}
	return err;
}
