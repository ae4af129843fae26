/* SPDX-License-Identifier: Apache-2.0 */
/* Claims of access tokens. */
#include "sasl/claims.h"

#include <errno.h>
#include <string.h>

enum {
	DEPTH_MAX = 8, /* the parser recurses, and a fiber's stack is small */
	LEEWAY_S = 60, /* clocks differ */
	USERNAME_MAX = 512,
};

static bool is_shallow(struct str text)
{
	bool is_quoted = false;
	int depth = 0;

	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];

		if (is_quoted && c == '\\')
			i++;
		else if (c == '"')
			is_quoted = !is_quoted;
		else if (!is_quoted && (c == '{' || c == '[') && ++depth > DEPTH_MAX)
			return false;
		else if (!is_quoted && (c == '}' || c == ']'))
			depth--;
	}
	return true;
}

json_t *claims_parse(struct str text)
{
	json_t *found;

	if (!text.len || !is_shallow(text))
		return NULL;
	found = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, NULL);
	if (found && !json_is_object(found)) {
		json_decref(found);
		found = NULL;
	}
	return found;
}

static struct str string_of(const json_t *value)
{
	return json_is_string(value) ? str_n(json_string_value(value), json_string_length(value)) : STR("");
}

/* "aud" is one name or a list of names. */
static bool is_for_us(const json_t *audience, struct str ours)
{
	if (json_is_string(audience))
		return str_list_has_exactly(ours, string_of(audience));
	for (size_t i = 0; i < json_array_size(audience); i++) {
		struct str one = string_of(json_array_get(audience, i));

		if (one.len && str_list_has_exactly(ours, one))
			return true;
	}
	return false;
}

static bool has_scopes(const json_t *scope, struct str wanted)
{
	struct str word;

	while (str_next(&wanted, ", \t\r\n", &word))
		if (!str_list_has_exactly(string_of(scope), word))
			return false;
	return true;
}

/* False for a claim that is no time. */
static bool time_of(const json_t *value, double *ret_time)
{
	*ret_time = json_number_value(value);
	return json_is_number(value);
}

static const char *check_times(const json_t *claims, const struct claim_rules *rules)
{
	const json_t *expires = json_object_get(claims, "exp"), *begins = json_object_get(claims, "nbf");
	double now = (double)rules->now, at;

	if (!expires && rules->must_expire)
		return "the token does not say when it expires";
	if (expires && (!time_of(expires, &at) || now - LEEWAY_S >= at))
		return "the token has expired";
	if (begins && (!time_of(begins, &at) || now + LEEWAY_S < at))
		return "the token is not valid yet";
	return NULL;
}

int claims_check(const json_t *claims, const struct claim_rules *rules, struct arena *a, struct str *ret_username,
                 const char **why)
{
	char *name = arena_cstr(a, rules->username);
	struct str user = string_of(json_object_get(claims, name));

	*why = check_times(claims, rules);
	if (*why)
		return -EACCES;
	if (rules->issuer.len && !str_eq(string_of(json_object_get(claims, "iss")), rules->issuer))
		*why = "the token has another issuer";
	else if (rules->audience.len && !is_for_us(json_object_get(claims, "aud"), rules->audience))
		*why = "the token is for another audience";
	else if (!has_scopes(json_object_get(claims, "scope"), rules->scope))
		*why = "the token lacks a scope";
	else if (!user.len || user.len > USERNAME_MAX || str_find_any(user, "\t\r\n ") < user.len || str_has(user, '\0'))
		*why = "the token names no user";
	if (*why)
		return -EACCES;
	*ret_username = arena_str(a, user);
	return 0;
}
