/* SPDX-License-Identifier: Apache-2.0 */
/* Views of text: comparing, searching, cutting, taking apart. */
#include "base/str.h"

#include <errno.h>
#include <limits.h>

#include "base/base.h"

bool str_eq(struct str a, struct str b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool str_eq_nocase(struct str a, struct str b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (ascii_lower(a.ptr[i]) != ascii_lower(b.ptr[i]))
			return false;
	return true;
}

int str_cmp(struct str a, struct str b)
{
	size_t common = size_min(a.len, b.len);
	int order = common ? memcmp(a.ptr, b.ptr, common) : 0;

	if (order)
		return order;
	return (a.len > b.len) - (a.len < b.len);
}

bool str_starts(struct str s, struct str prefix)
{
	return s.len >= prefix.len && str_eq(str_n(s.ptr, prefix.len), prefix);
}

bool str_starts_nocase(struct str s, struct str prefix)
{
	return s.len >= prefix.len && str_eq_nocase(str_n(s.ptr, prefix.len), prefix);
}

bool str_ends(struct str s, struct str suffix)
{
	return s.len >= suffix.len && str_eq(str_from(s, s.len - suffix.len), suffix);
}

bool str_ends_nocase(struct str s, struct str suffix)
{
	return s.len >= suffix.len && str_eq_nocase(str_from(s, s.len - suffix.len), suffix);
}

size_t str_find(struct str s, char c)
{
	const char *hit = s.len ? memchr(s.ptr, c, s.len) : NULL;

	return hit ? (size_t)(hit - s.ptr) : s.len;
}

size_t str_find_last(struct str s, char c)
{
	const char *hit = s.len ? memrchr(s.ptr, c, s.len) : NULL;

	return hit ? (size_t)(hit - s.ptr) : s.len;
}

size_t str_find_any(struct str s, const char *set)
{
	size_t set_size = strlen(set);

	for (size_t i = 0; i < s.len; i++)
		if (memchr(set, s.ptr[i], set_size))
			return i;
	return s.len;
}

bool str_has(struct str s, char c)
{
	return str_find(s, c) < s.len;
}

size_t str_find_str(struct str s, struct str needle)
{
	const char *hit;

	if (needle.len == 0)
		return 0;
	if (s.len < needle.len)
		return s.len;
	hit = memmem(s.ptr, s.len, needle.ptr, needle.len);
	return hit ? (size_t)(hit - s.ptr) : s.len;
}

struct str str_from(struct str s, size_t at)
{
	return str_cut(s, at, SIZE_MAX);
}

struct str str_cut(struct str s, size_t at, size_t len)
{
	if (!s.ptr)
		return s;
	at = size_min(at, s.len);
	return str_n(s.ptr + at, size_min(len, s.len - at));
}

struct str str_trim(struct str s)
{
	while (s.len && ascii_is_space(s.ptr[0]))
		s = str_n(s.ptr + 1, s.len - 1);
	while (s.len && ascii_is_space(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

static void skip_separators(struct str *rest, const char *separators)
{
	size_t set_size = strlen(separators);

	while (rest->len && memchr(separators, rest->ptr[0], set_size))
		*rest = str_n(rest->ptr + 1, rest->len - 1);
}

bool str_next(struct str *rest, const char *separators, struct str *ret_token)
{
	size_t end;

	skip_separators(rest, separators);
	if (rest->len == 0)
		return false;
	end = str_find_any(*rest, separators);
	*ret_token = str_cut(*rest, 0, end);
	*rest = str_from(*rest, end);
	return true;
}

bool str_next_braced(struct str *rest, const char *separators, struct str *ret_token)
{
	size_t set_size = strlen(separators);
	size_t depth = 0;
	size_t end;

	skip_separators(rest, separators);
	if (rest->len == 0)
		return false;
	for (end = 0; end < rest->len; end++) {
		char c = rest->ptr[end];

		if (c == '{')
			depth++;
		else if (c == '}' && depth)
			depth--;
		else if (depth == 0 && memchr(separators, c, set_size))
			break;
	}
	*ret_token = str_cut(*rest, 0, end);
	*rest = str_from(*rest, end);
	return true;
}

static bool list_has(struct str list, struct str word, bool (*is_same)(struct str a, struct str b))
{
	struct str item;

	while (str_next(&list, " \t\r\n,", &item))
		if (is_same(item, word))
			return true;
	return false;
}

bool str_list_has(struct str list, struct str word)
{
	return list_has(list, word, str_eq_nocase);
}

bool str_list_has_exactly(struct str list, struct str word)
{
	return list_has(list, word, str_eq);
}

bool str_split(struct str s, char c, struct str *ret_left, struct str *ret_right)
{
	size_t at = str_find(s, c);

	if (at == s.len)
		return false;
	*ret_left = str_cut(s, 0, at);
	*ret_right = str_from(s, at + 1);
	return true;
}

int str_parse_u64(struct str s, unsigned long long *ret_value)
{
	unsigned long long value = 0;

	if (s.len == 0)
		return -EINVAL;
	for (size_t i = 0; i < s.len; i++) {
		if (!ascii_is_digit(s.ptr[i]))
			return -EINVAL;
		if (__builtin_mul_overflow(value, 10ULL, &value) ||
		    __builtin_add_overflow(value, (unsigned long long)(s.ptr[i] - '0'), &value))
			return -ERANGE;
	}
	*ret_value = value;
	return 0;
}

int str_parse_i64(struct str s, long long *ret_value)
{
	bool is_negative = s.len && s.ptr[0] == '-';
	unsigned long long size;
	int err = str_parse_u64(is_negative ? str_from(s, 1) : s, &size);

	if (err)
		return err;
	if (size > (unsigned long long)LLONG_MAX)
		return -ERANGE;
	*ret_value = is_negative ? -(long long)size : (long long)size;
	return 0;
}

char *str_cstr(struct str s)
{
	char *copy = mem_alloc(s.len + 1);

	if (s.len)
		memcpy(copy, s.ptr, s.len);
	return copy;
}
