/* SPDX-License-Identifier: Apache-2.0 */
/* From the text of a parameter to its typed value. */
#include "config/typed.h"

#include <errno.h>

int typed_bool(struct str text, bool *ret_value)
{
	if (str_eq_nocase(text, STR("yes")))
		*ret_value = true;
	else if (str_eq_nocase(text, STR("no")))
		*ret_value = false;
	else
		return -EINVAL;
	return 0;
}

static int64_t unit_seconds(char unit)
{
	switch (unit) {
	case 's':
		return 1;
	case 'm':
		return 60;
	case 'h':
		return 3600;
	case 'd':
		return 86400;
	case 'w':
		return 7 * 86400;
	}
	return 0;
}

int typed_time(struct str text, char unit, int64_t *ret_seconds)
{
	long long number;
	int64_t seconds;

	if (text.len > 0 && !ascii_is_digit(text.ptr[text.len - 1])) {
		unit = ascii_lower(text.ptr[text.len - 1]);
		text = str_cut(text, 0, text.len - 1);
	}
	if (unit_seconds(unit) == 0)
		return -EINVAL;
	int err = str_parse_i64(text, &number);
	if (err)
		return err;
	if (__builtin_mul_overflow(number, unit_seconds(unit), &seconds) || seconds > INT64_MAX / NS_PER_S || seconds < 0)
		return -ERANGE;
	*ret_seconds = seconds;
	return 0;
}

static int check_range(const struct param *p, int64_t value, const char *unit, struct buf *why)
{
	if (value >= p->min && value <= p->max)
		return 0;
	if (value < p->min)
		buf_addf(why, "the least it may be is %lld%s", (long long)p->min, unit);
	else
		buf_addf(why, "the most it may be is %lld%s", (long long)p->max, unit);
	return -ERANGE;
}

static int store_int(void *field, const struct param *p, struct str text, struct buf *why)
{
	long long value;
	int err = str_parse_i64(text, &value);

	if (err) {
		buf_add(why, err == -ERANGE ? STR("the number is too large") : STR("write a whole number in digits, such as 10"));
		return err;
	}
	err = check_range(p, value, "", why);
	if (!err)
		*(int64_t *)field = value;
	return err;
}

static int store_time(void *field, const struct param *p, struct str text, struct buf *why)
{
	int64_t seconds;
	int err = typed_time(text, p->unit, &seconds);

	if (err) {
		buf_add(why, err == -ERANGE ? STR("the time is out of range")
		                            : STR("write a number and a unit: s, m, h, d or w, such as 30s or 5d"));
		return err;
	}
	err = check_range(p, seconds, " seconds", why);
	if (!err)
		*(struct duration *)field = duration_s(seconds);
	return err;
}

/* The word as the table spells it, so that who reads it need not care about its case. */
static int find_choice(const struct param *p, struct str text, struct str *ret_word, struct buf *why)
{
	struct str rest = p->choices, word;
	const char *between = "write one of ";

	while (str_next(&rest, " ", &word))
		if (str_eq_nocase(word, text)) {
			*ret_word = word;
			return 0;
		}
	for (rest = p->choices; str_next(&rest, " ", &word); between = ", ")
		buf_addf(why, "%s%.*s", between, STR_ARG(word));
	return -EINVAL;
}

static int store_text(void *field, const struct param *p, struct str text, struct buf *why)
{
	int err = 0;

	if (str_is_empty(text) && (p->flags & PARAM_NON_EMPTY)) {
		buf_add(why, STR("it may not be empty; remove the line to get the default"));
		return -EINVAL;
	}
	if (p->kind == PARAM_ENUM && !str_is_empty(text))
		err = find_choice(p, text, &text, why);
	if (!err)
		*(struct str *)field = text;
	return err;
}

static int typed_parse(const struct param *p, struct str text, void *field, struct buf *why)
{
	bool value;

	switch (p->kind) {
	case PARAM_BOOL:
		if (typed_bool(text, &value)) {
			buf_add(why, STR("write yes or no"));
			return -EINVAL;
		}
		*(bool *)field = value;
		return 0;
	case PARAM_INT:
		return store_int(field, p, text, why);
	case PARAM_TIME:
		return store_time(field, p, text, why);
	default:
		return store_text(field, p, text, why);
	}
}

int typed_store(struct params *to, const struct param *p, struct str text, struct buf *why)
{
	return typed_parse(p, text, (char *)to + p->field_at, why);
}

int typed_check(const struct param *p, struct str text, struct buf *why)
{
	union {
		bool flag;
		int64_t number;
		struct duration time;
		struct str text;
	} ignored;

	return typed_parse(p, text, &ignored, why);
}
