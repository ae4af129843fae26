/* SPDX-License-Identifier: Apache-2.0 */
#include "mail/address.h"

#include <errno.h>

#include "base/utf8.h"

/* RFC 5322 specials, which an unquoted local part or domain cannot hold. */
static bool is_special(char c)
{
	return c == '(' || c == ')' || c == '<' || c == '>' || c == '[' || c == ']' || c == ':' || c == ';' || c == '@' ||
	       c == '\\' || c == ',' || c == '"';
}

static bool is_atom_char(char c)
{
	unsigned char u = (unsigned char)c;

	return u > ' ' && u != 127 && !is_special(c);
}

bool str_is_8bit(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] > 127)
			return true;
	return false;
}

bool address_split(struct str internal, struct str *ret_local, struct str *ret_domain)
{
	size_t at = str_find_last(internal, '@');

	*ret_local = str_cut(internal, 0, at);
	*ret_domain = str_from(internal, at + 1);
	return at < internal.len;
}

struct str address_domain(struct str internal)
{
	struct str local, domain;

	address_split(internal, &local, &domain);
	return domain;
}

/* Copies the content of the quoted string at text[*at] to `to`, without quotes and backslashes. */
static int take_quoted(struct str text, size_t *at, struct buf *to)
{
	size_t i = *at + 1;

	for (; i < text.len && text.ptr[i] != '"'; i++) {
		if (text.ptr[i] == '\\' && ++i == text.len)
			return -EINVAL;
		if (text.ptr[i] == '\r' || text.ptr[i] == '\n' || text.ptr[i] == '\0')
			return -EINVAL;
		buf_add_char(to, text.ptr[i]);
	}
	if (i >= text.len)
		return -EINVAL;
	*at = i + 1;
	return 0;
}

static int take_local_part(struct str text, size_t *at, struct buf *to)
{
	while (*at < text.len && text.ptr[*at] != '@') {
		char c = text.ptr[*at];

		if (c == '"') {
			if (take_quoted(text, at, to))
				return -EINVAL;
			continue;
		}
		if (c == '\\' && *at + 1 < text.len && (unsigned char)text.ptr[*at + 1] >= ' ')
			c = text.ptr[++*at];
		else if (!is_atom_char(c))
			return -EINVAL;
		buf_add_char(to, c);
		++*at;
	}
	return 0;
}

/* "example.org" or "[192.0.2.1]", up to the end of the text. */
static bool domain_is_wellformed(struct str domain)
{
	if (domain.len > 1 && domain.ptr[0] == '[') {
		for (size_t i = 1; i < domain.len - 1; i++)
			if (!is_atom_char(domain.ptr[i]) && domain.ptr[i] != ':')
				return false;
		return domain.len > 2 && domain.ptr[domain.len - 1] == ']';
	}
	for (size_t i = 0; i < domain.len; i++)
		if (!is_atom_char(domain.ptr[i]))
			return false;
	return domain.len > 0;
}

/* Without "@a,@b:" in front. */
static int skip_route(struct str *text)
{
	size_t colon;

	if (text->len == 0 || text->ptr[0] != '@')
		return 0;
	colon = str_find(*text, ':');
	if (colon == text->len)
		return -EINVAL;
	for (size_t i = 0; i < colon; i++)
		if (!is_atom_char(text->ptr[i]) && text->ptr[i] != '@' && text->ptr[i] != ',')
			return -EINVAL;
	*text = str_from(*text, colon + 1);
	return 0;
}

/* Several @ are let through unless strict: all but the last belong to the local part (sender%routing forms). */
static int parse_mailbox(struct str text, unsigned flags, struct buf *to)
{
	size_t at = 0;

	if (skip_route(&text) || take_local_part(text, &at, to))
		return -EINVAL;
	if (at == text.len)
		/* A quoted @ without a domain behind it would read as one in the internal form. */
		return to->len > 0 && !str_has(buf_str(to), '@') ? 0 : -EINVAL;
	if (at == 0)
		return -EINVAL;
	while (!(flags & ADDRESS_STRICT) && str_has(str_from(text, at + 1), '@')) {
		buf_add_char(to, '@');
		at++;
		if (take_local_part(text, &at, to))
			return -EINVAL;
	}
	if (!domain_is_wellformed(str_from(text, at + 1)))
		return -EINVAL;
	buf_add(to, str_from(text, at));
	return 0;
}

int address_parse(struct str external, unsigned flags, struct arena *a, struct str *ret_address)
{
	char usual[128];
	struct buf b;
	int err = -EINVAL;

	if (external.len == 0) {
		*ret_address = STR("");
		return flags & ADDRESS_EMPTY ? 0 : -EINVAL;
	}
	if (str_is_8bit(external) && (!(flags & ADDRESS_UTF8) || !utf8_is_valid(external)))
		return -EINVAL;
	buf_init_on(&b, usual, sizeof(usual), external.len + 1);
	if (memchr(external.ptr, '\0', external.len) == NULL)
		err = parse_mailbox(external, flags, &b);
	if (!err)
		*ret_address = arena_str(a, buf_str(&b));
	buf_done(&b);
	return err;
}

/* Where the path that starts at text[0] ends: behind ">", or before a blank when there are no brackets. */
static size_t path_end(struct str text, bool has_brackets)
{
	bool is_quoted = false;

	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];

		if (c == '\\' && i + 1 < text.len)
			i++;
		else if (c == '"')
			is_quoted = !is_quoted;
		else if (!is_quoted && has_brackets && c == '>')
			return i + 1;
		else if (!is_quoted && !has_brackets && (c == ' ' || c == '\t'))
			return i;
	}
	return has_brackets || is_quoted ? 0 : text.len;
}

int address_parse_path(struct str *rest, unsigned flags, struct arena *a, struct str *ret_address)
{
	struct str text = *rest, inside;
	bool has_brackets = text.len > 0 && text.ptr[0] == '<';
	size_t end = path_end(text, has_brackets);

	if (end == 0 || (!has_brackets && (flags & ADDRESS_STRICT)))
		return -EINVAL;
	inside = has_brackets ? str_cut(text, 1, end - 2) : str_cut(text, 0, end);
	if (has_brackets && !(flags & ADDRESS_STRICT))
		inside = str_trim(inside);
	if (end < text.len && text.ptr[end] != ' ' && text.ptr[end] != '\t')
		return -EINVAL;
	if (address_parse(inside, flags, a, ret_address))
		return -EINVAL;
	*rest = str_from(text, end);
	return 0;
}

/* A dot-string of RFC 5321; dots in odd places need quotes. */
static bool local_needs_quotes(struct str local)
{
	char before = '.';

	for (size_t i = 0; i < local.len; i++) {
		char c = local.ptr[i];

		if (!is_atom_char(c) || (c == '.' && before == '.'))
			return true;
		before = c;
	}
	return before == '.';
}

void address_format(struct buf *to, struct str internal)
{
	struct str local, domain;
	bool has_domain = address_split(internal, &local, &domain);

	if (internal.len == 0)
		return;
	if (local_needs_quotes(local)) {
		buf_add_char(to, '"');
		for (size_t i = 0; i < local.len; i++) {
			if (local.ptr[i] == '"' || local.ptr[i] == '\\' || local.ptr[i] == '\r')
				buf_add_char(to, '\\');
			buf_add_char(to, local.ptr[i]);
		}
		buf_add_char(to, '"');
	} else {
		buf_add(to, local);
	}
	if (has_domain) {
		buf_add_char(to, '@');
		buf_add(to, domain);
	}
}

struct str address_external(struct arena *a, struct str internal)
{
	struct str local, domain, external;
	struct buf b;

	address_split(internal, &local, &domain);
	if (internal.len == 0 || !local_needs_quotes(local))
		return internal;
	b = BUF_INIT(2 * internal.len + 2);
	address_format(&b, internal);
	external = arena_str(a, buf_str(&b));
	buf_done(&b);
	return external;
}
