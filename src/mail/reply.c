/* SPDX-License-Identifier: Apache-2.0 */
#include "mail/reply.h"

#include <errno.h>

enum { DSN_NUMBER_MAX = 999 };

/* One to three digits. */
static int take_number(struct str *rest, uint16_t *ret_value)
{
	unsigned value = 0;
	size_t i = 0;

	while (i < rest->len && i < 4 && ascii_is_digit(rest->ptr[i]))
		value = value * 10 + (unsigned)(rest->ptr[i++] - '0');
	if (i == 0 || value > DSN_NUMBER_MAX || i == 4)
		return -EINVAL;
	*rest = str_from(*rest, i);
	*ret_value = (uint16_t)value;
	return 0;
}

static bool take_dot(struct str *rest)
{
	if (rest->len == 0 || rest->ptr[0] != '.')
		return false;
	*rest = str_from(*rest, 1);
	return true;
}

int dsn_code_parse(struct str *rest, struct dsn_code *ret_code)
{
	struct str at = *rest;
	struct dsn_code code;

	if (take_number(&at, &code.class_digit) || (code.class_digit != 2 && code.class_digit != 4 && code.class_digit != 5))
		return -EINVAL;
	if (!take_dot(&at) || take_number(&at, &code.subject) || !take_dot(&at) || take_number(&at, &code.detail))
		return -EINVAL;
	if (at.len > 0 && !ascii_is_space(at.ptr[0]))
		return -EINVAL;
	*rest = str_from(at, 1);
	*ret_code = code;
	return 0;
}

void dsn_code_format(struct buf *to, struct dsn_code code)
{
	buf_addf(to, "%u.%u.%u", code.class_digit, code.subject, code.detail);
}

int reply_parse(struct str line, struct reply *ret_reply)
{
	struct reply r = {0};
	struct str rest = str_trim(line);
	uint16_t code;

	if (take_number(&rest, &code) || code < 200 || code > 599)
		return -EINVAL;
	if (rest.len > 0 && rest.ptr[0] != ' ' && rest.ptr[0] != '-' && rest.ptr[0] != '\t')
		return -EINVAL;
	rest = str_from(rest, 1);
	r.code = code;
	if (dsn_code_parse(&rest, &r.dsn))
		r.dsn = (struct dsn_code){0};
	r.text = str_trim(rest);
	r.is_final = code == 421 || code == 521;
	*ret_reply = r;
	return 0;
}

void reply_format(struct buf *to, const struct reply *r, bool has_dsn)
{
	struct str rest = r->text, line;
	bool has_more;

	do {
		has_more = str_split(rest, '\n', &line, &rest);
		if (!has_more)
			line = rest;
		buf_addf(to, "%03d%c", r->code, has_more ? '-' : ' ');
		if (has_dsn && r->dsn.class_digit) {
			dsn_code_format(to, r->dsn);
			buf_add_char(to, ' ');
		}
		buf_add(to, line);
		buf_add(to, STR("\r\n"));
	} while (has_more);
}
