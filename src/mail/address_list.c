/* SPDX-License-Identifier: Apache-2.0 */
#include "mail/address_list.h"

#include "base/base.h"

/* Where the quoted string, comment or domain literal that opens at `at` ends: behind its closing byte. */
static size_t skip_enclosed(struct str s, size_t at)
{
	char open = s.ptr[at], close = open == '(' ? ')' : open == '[' ? ']' : '"';
	size_t depth = 1;

	for (at++; at < s.len && depth > 0; at++) {
		if (s.ptr[at] == '\\')
			at++;
		else if (s.ptr[at] == close)
			depth--;
		else if (open == '(' && s.ptr[at] == '(')
			depth++;
	}
	return at < s.len ? at : s.len;
}

/* What lies in angle brackets, from behind "<" to before ">". */
static struct str take_brackets(struct address_list *l)
{
	size_t from = ++l->at;
	struct str inside;

	while (l->at < l->text.len && l->text.ptr[l->at] != '>') {
		char c = l->text.ptr[l->at];

		l->at = c == '"' || c == '[' || c == '(' ? skip_enclosed(l->text, l->at) : l->at + 1;
	}
	inside = str_trim(str_cut(l->text, from, l->at - from));
	if (l->at < l->text.len)
		l->at++;
	return inside;
}

/* One member of the list, up to a comma, a colon (a group's name) or a semicolon. */
static struct str take_member(struct address_list *l)
{
	struct str bracketed = {0};
	size_t from = l->text.len, to = 0;

	while (l->at < l->text.len) {
		char c = l->text.ptr[l->at];
		size_t begin = l->at;

		if (c == ',' || c == ';')
			break;
		if (c == ':') {
			from = l->text.len;
			l->at++;
			continue;
		}
		if (c == '<') {
			bracketed = take_brackets(l);
			continue;
		}
		l->at = c == '"' || c == '[' || c == '(' ? skip_enclosed(l->text, l->at) : l->at + 1;
		if (c == '(' || ascii_is_space(c))
			continue;
		from = size_min(from, begin);
		to = l->at;
	}
	l->at++;
	if (bracketed.ptr)
		return bracketed;
	return from < to ? str_cut(l->text, from, to - from) : STR("");
}

/* A bare member with blanks or comments inside is several words: no address that could be rewritten in place. */
static bool is_one_word(struct str s)
{
	for (size_t i = 0; i < s.len;) {
		if (ascii_is_space(s.ptr[i]) || s.ptr[i] == '(')
			return false;
		i = s.ptr[i] == '"' || s.ptr[i] == '[' ? skip_enclosed(s, i) : i + 1;
	}
	return s.len > 0;
}

bool address_list_next(struct address_list *l, struct str *ret_spec)
{
	while (l->at < l->text.len) {
		*ret_spec = take_member(l);
		if (is_one_word(*ret_spec))
			return true;
	}
	return false;
}
