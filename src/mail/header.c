/* SPDX-License-Identifier: Apache-2.0 */
#include "mail/header.h"

/* The line at the start of `s`, its LF included. */
static size_t line_len(struct str s)
{
	const char *lf = s.len ? memchr(s.ptr, '\n', s.len) : NULL;

	return lf ? (size_t)(lf - s.ptr) + 1 : s.len;
}

size_t header_name_len(struct str line)
{
	size_t len = 0, blanks;

	while (len < line.len && (unsigned char)line.ptr[len] > ' ' && line.ptr[len] != ':' && line.ptr[len] != 127)
		len++;
	for (blanks = len; blanks < line.len && (line.ptr[blanks] == ' ' || line.ptr[blanks] == '\t');)
		blanks++;
	return blanks < line.len && line.ptr[blanks] == ':' ? len : 0;
}

bool header_next(struct str *rest, struct header *ret_header)
{
	size_t len = line_len(*rest), name_len = header_name_len(*rest), colon, end;

	if (name_len == 0)
		return false;
	while (len < rest->len && (rest->ptr[len] == ' ' || rest->ptr[len] == '\t'))
		len += line_len(str_from(*rest, len));
	colon = name_len;
	while (rest->ptr[colon] != ':')
		colon++;
	end = len;
	if (end > 0 && rest->ptr[end - 1] == '\n')
		end--;
	if (end > 0 && rest->ptr[end - 1] == '\r')
		end--;
	ret_header->name = str_cut(*rest, 0, name_len);
	ret_header->value = end > colon ? str_n(rest->ptr + colon + 1, end - colon - 1) : STR("");
	ret_header->whole = str_cut(*rest, 0, len);
	*rest = str_from(*rest, len);
	return true;
}

void header_unfold(struct buf *to, struct str value)
{
	value = str_trim(value);
	for (size_t i = 0; i < value.len; i++)
		if (value.ptr[i] != '\r' && value.ptr[i] != '\n')
			buf_add_char(to, value.ptr[i]);
}

bool header_find(struct str section, struct str name, struct header *ret_header)
{
	while (header_next(&section, ret_header))
		if (str_eq_nocase(ret_header->name, name))
			return true;
	return false;
}
