/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The right side of aliases, :include: files and .forward files:
 *
 *	address, address        also <a@b> and (comments)
 *	\user                   the mailbox, whatever aliases say
 *	/file/name  |command    "quoted" when they hold blanks or commas
 *	:include:/file/name
 */
#include "role/local/members.h"

static struct str unquoted(struct str s, struct arena *a)
{
	char *text;
	size_t len = 0;

	s = str_trim(s);
	if (s.len < 2 || s.ptr[0] != '"')
		return s;
	text = arena_alloc(a, s.len);
	for (size_t i = 1; i < s.len && s.ptr[i] != '"'; i++) {
		if (s.ptr[i] == '\\' && i + 1 < s.len)
			i++;
		text[len++] = s.ptr[i];
	}
	return str_n(text, len);
}

/* Up to a comma or a line end outside of quotes. */
static struct str take_piece(struct str *rest)
{
	bool is_quoted = false;
	struct str piece;
	size_t i;

	for (i = 0; i < rest->len; i++) {
		char c = rest->ptr[i];

		if (c == '\\' && i + 1 < rest->len)
			i++;
		else if (c == '"')
			is_quoted = !is_quoted;
		else if (c == '\n' || (!is_quoted && c == ','))
			break;
	}
	i = size_min(i, rest->len);
	piece = str_trim(str_cut(*rest, 0, i));
	*rest = str_from(*rest, i + 1);
	return piece;
}

bool member_next(struct str *rest, struct arena *a, struct member *ret_member)
{
	static const struct str include = {":include:", 9};

	while (rest->len > 0) {
		bool is_comment = rest->ptr[0] == '#';
		struct str piece = take_piece(rest), text = unquoted(piece, a);

		if (is_comment || text.len == 0)
			continue;
		if (text.ptr[0] == '|')
			*ret_member = (struct member){MEMBER_COMMAND, unquoted(str_from(text, 1), a)};
		else if (text.ptr[0] == '/' && !str_has(text, '@'))
			*ret_member = (struct member){MEMBER_FILE, text};
		else if (str_starts_nocase(text, include))
			*ret_member = (struct member){MEMBER_INCLUDE, unquoted(str_from(text, include.len), a)};
		else
			*ret_member = (struct member){MEMBER_ADDRESSES, piece};
		return true;
	}
	return false;
}
