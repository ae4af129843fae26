/* SPDX-License-Identifier: Apache-2.0 */
#include "sasl/access_token.h"

#include <errno.h>

#include "sasl/claims.h"

/* No blanks and no control characters (RFC 6750, 2.1): words of a program in distress are none. */
static bool is_token(struct str text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] <= ' ' || text.ptr[i] > '~')
			return false;
	return text.len > 0;
}

/* Some servers write it as a string. */
static int64_t lifetime_of(const json_t *value)
{
	const char *text = json_string_value(value);
	long long seconds = -1;

	if (json_is_integer(value))
		seconds = json_integer_value(value);
	else if (text && str_parse_i64(str_of(text), &seconds))
		seconds = -1;
	return seconds < 0 ? -1 : seconds;
}

static int parse_json(struct str text, struct arena *a, struct str *ret_token, int64_t *ret_lifetime)
{
	json_t *object = claims_parse(text);
	struct str token = str_of(json_string_value(json_object_get(object, "access_token")));
	bool has = is_token(token);

	if (has) {
		*ret_token = arena_str(a, token);
		*ret_lifetime = lifetime_of(json_object_get(object, "expires_in"));
	}
	json_decref(object);
	return has ? 0 : -EINVAL;
}

int access_token_parse(struct str text, struct arena *a, struct str *ret_token, int64_t *ret_lifetime)
{
	struct str line = {0};

	text = str_trim(text);
	if (str_starts(text, STR("{")))
		return parse_json(text, a, ret_token, ret_lifetime);
	if (!str_next(&text, "\r\n", &line) || !is_token(str_trim(line)))
		return -EINVAL;
	*ret_token = arena_str(a, str_trim(line));
	*ret_lifetime = -1;
	return 0;
}

/* A name that looks like an option would be taken for one. */
static bool is_name(struct str user)
{
	for (size_t i = 0; i < user.len; i++)
		if ((unsigned char)user.ptr[i] < ' ' || user.ptr[i] == 127)
			return false;
	return user.len > 0 && user.ptr[0] != '-';
}

int token_command_parse(struct str command, struct str user, struct buf *arguments, struct buf *why)
{
	struct str rest = command, word;

	if (!str_starts(str_trim(command), STR("/"))) {
		buf_addf(why, "\"%.*s\" must begin with the full path of a program", STR_ARG(command));
		return -EINVAL;
	}
	if (!is_name(user)) {
		buf_add(why, STR("the login name begins with \"-\" or has a control character"));
		return -EINVAL;
	}
	while (str_next_braced(&rest, " \t\r\n", &word)) {
		if (str_starts(word, STR("{")) && str_ends(word, STR("}")))
			word = str_trim(str_cut(word, 1, word.len - 2));
		buf_add(arguments, word);
		buf_add_char(arguments, '\0');
	}
	buf_add(arguments, user);
	buf_add_char(arguments, '\0');
	if (!buf_check(arguments) && !str_has(command, '\0'))
		return 0;
	buf_add(why, STR("it is too long"));
	return -EINVAL;
}
