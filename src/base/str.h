/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A string as a view: pointer and length, not owned, not NUL-terminated. {NULL, 0}
 * is the absent string; str_is_empty() is true for it as well.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct str {
	const char *ptr;
	size_t len;
};

#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
/* For printf: "%.*s" with STR_ARG(s). */
#define STR_ARG(s) (int)(s).len, (s).ptr ? (s).ptr : ""

static inline struct str str_of(const char *text)
{
	return (struct str){text, text ? strlen(text) : 0};
}

static inline struct str str_n(const char *ptr, size_t len)
{
	return (struct str){ptr, len};
}

static inline bool str_is_empty(struct str s)
{
	return s.len == 0;
}

bool str_eq(struct str a, struct str b);
/* ASCII letters only; bytes above 127 compare as they are. */
bool str_eq_nocase(struct str a, struct str b);
/* <0, 0, >0 in byte order. */
int str_cmp(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
bool str_starts_nocase(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
bool str_ends_nocase(struct str s, struct str suffix);

/* Position of the first/last `c`, or s.len if there is none. */
size_t str_find(struct str s, char c);
size_t str_find_last(struct str s, char c);
/* Position of the first byte that is one of `set`, or s.len. */
size_t str_find_any(struct str s, const char *set);
bool str_has(struct str s, char c);
/* Position of the first occurrence of `needle`, or s.len. */
size_t str_find_str(struct str s, struct str needle);

/* The part from `at` on, or of at most `len` bytes; positions past the end give an empty view. */
struct str str_from(struct str s, size_t at);
struct str str_cut(struct str s, size_t at, size_t len);
/* Without blanks, tabs, CR and LF at either end. */
struct str str_trim(struct str s);

/*
 * Takes the next token off the front of *rest: bytes up to one of `separators`,
 * which are skipped before it. False when nothing is left.
 */
bool str_next(struct str *rest, const char *separators, struct str *ret_token);
/* As str_next, but {...} counts as one token with the outer braces kept, whatever is inside. */
bool str_next_braced(struct str *rest, const char *separators, struct str *ret_token);
/* Is it one of the words of a list, parted by blanks, line ends and commas? Without regard to case. */
bool str_list_has(struct str list, struct str word);
/* The same, letter by letter. */
bool str_list_has_exactly(struct str list, struct str word);
/* Splits at the first `c`: *ret_left before it, *ret_right behind. False if there is none. */
bool str_split(struct str s, char c, struct str *ret_left, struct str *ret_right);

/* Decimal digits only, nothing around them. Fails with -EINVAL or -ERANGE. */
[[nodiscard]] int str_parse_u64(struct str s, unsigned long long *ret_value);
/* The same with an optional minus. */
[[nodiscard]] int str_parse_i64(struct str s, long long *ret_value);

/* A NUL-terminated copy on the heap; the caller frees it. */
[[nodiscard]] char *str_cstr(struct str s);

static inline char ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static inline char ascii_upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
}

static inline bool ascii_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool ascii_is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static inline bool ascii_is_alnum(char c)
{
	return ascii_is_alpha(c) || ascii_is_digit(c);
}

static inline bool ascii_is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}
