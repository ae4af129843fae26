/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of Dovecot's authentication protocol. */
#include "sasl/dovecot_line.h"

#include <errno.h>

#include "sasl/server_internal.h"

static const struct {
	const char *word;
	enum dovecot_verb verb;
} verbs[] = {
	{"VERSION", DOVECOT_VERSION}, {"MECH", DOVECOT_MECH}, {"DONE", DOVECOT_DONE},
	{"OK", DOVECOT_OK},           {"CONT", DOVECOT_CONT}, {"FAIL", DOVECOT_FAIL},
};

static const struct {
	const char *word;
	unsigned flag;
} mechanism_flags[] = {
	{"anonymous", MECHANISM_ANONYMOUS},
	{"plaintext", MECHANISM_PLAINTEXT},
	{"dictionary", MECHANISM_DICTIONARY},
	{"active", MECHANISM_ACTIVE},
	{"forward-secrecy", MECHANISM_FORWARD_SECRECY},
	{"mutual-auth", MECHANISM_MUTUAL_AUTH},
	{"private", MECHANISM_PRIVATE},
};

/* The next field, which may be empty; false at the end of the line. */
static bool next_field(struct str *rest, struct str *ret_field)
{
	size_t tab = str_find(*rest, '\t');

	if (!rest->ptr)
		return false;
	*ret_field = str_cut(*rest, 0, tab);
	*rest = tab < rest->len ? str_from(*rest, tab + 1) : (struct str){0};
	return true;
}

static struct str unescape(struct arena *a, struct str field)
{
	char *out;
	size_t len = 0;

	if (!str_has(field, '\1'))
		return arena_str(a, field);
	out = arena_alloc(a, field.len + 1);
	for (size_t i = 0; i < field.len; i++) {
		char c = field.ptr[i];

		if (c == '\1' && i + 1 < field.len) {
			char code = field.ptr[++i];

			c = code == '0' ? '\0' : code == 't' ? '\t' : code == 'r' ? '\r' : code == 'n' ? '\n' : code;
		}
		out[len++] = c;
	}
	return str_n(out, len);
}

static void take_attribute(struct str field, struct arena *a, struct dovecot_line *line)
{
	struct str name = {0}, value = {0};

	if (!str_split(field, '=', &name, &value))
		name = field;
	if (str_eq(name, STR("user")))
		line->user = unescape(a, value);
	else if (str_eq(name, STR("reason")))
		line->reason = unescape(a, value);
	else if (str_eq(name, STR("temp")) || (str_eq(name, STR("code")) && str_eq(value, STR("temp_fail"))))
		line->is_temporary = true;
}

static unsigned find_flag(struct str word)
{
	for (size_t i = 0; i < COUNT_OF(mechanism_flags); i++)
		if (str_eq(word, str_of(mechanism_flags[i].word)))
			return mechanism_flags[i].flag;
	return 0;
}

int dovecot_line_parse(struct str line, struct arena *a, struct dovecot_line *ret_line)
{
	struct str rest = line, field = {0};

	*ret_line = (struct dovecot_line){.verb = DOVECOT_OTHER};
	(void)next_field(&rest, &field);
	for (size_t i = 0; i < COUNT_OF(verbs); i++)
		if (str_eq(field, str_of(verbs[i].word)))
			ret_line->verb = verbs[i].verb;
	switch (ret_line->verb) {
	case DOVECOT_OTHER:
	case DOVECOT_DONE:
		return 0;
	case DOVECOT_VERSION:
		return next_field(&rest, &field) && !str_parse_u64(field, &ret_line->number) ? 0 : -EBADMSG;
	case DOVECOT_MECH:
		if (!next_field(&rest, &field) || str_is_empty(field))
			return -EBADMSG;
		ret_line->text = unescape(a, field);
		while (next_field(&rest, &field))
			ret_line->flags |= find_flag(field);
		return 0;
	case DOVECOT_CONT:
		if (!next_field(&rest, &field) || str_parse_u64(field, &ret_line->number))
			return -EBADMSG;
		if (next_field(&rest, &field))
			ret_line->text = unescape(a, field);
		return 0;
	case DOVECOT_OK:
	case DOVECOT_FAIL:
		if (!next_field(&rest, &field) || str_parse_u64(field, &ret_line->number))
			return -EBADMSG;
		while (next_field(&rest, &field))
			take_attribute(field, a, ret_line);
		return 0;
	}
	return 0;
}
