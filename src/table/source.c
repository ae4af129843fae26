/* SPDX-License-Identifier: Apache-2.0 */
/* Reading of table sources: logical lines, "key value" and "name: value". */
#include "table/source.h"

#include "table/table_internal.h"

enum { LINE_MAX_BYTES = 16 << 20 };

void source_init(struct source *s, struct str file, struct str bytes)
{
	*s = (struct source){.file = file, .rest = bytes, .next_line = 1, .text = BUF_INIT(LINE_MAX_BYTES)};
}

void source_done(struct source *s)
{
	buf_done(&s->text);
}

static struct str trim_end(struct str s)
{
	while (s.len > 0 && ascii_is_space(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

/* Takes one physical line, without its line end. */
static struct str take_line(struct source *s)
{
	size_t end = str_find(s->rest, '\n');
	struct str line = str_cut(s->rest, 0, end);

	s->rest = str_from(s->rest, end + 1);
	s->next_line++;
	return line;
}

static bool is_skipped(struct str line)
{
	struct str text = str_trim(line);

	return text.len == 0 || text.ptr[0] == '#';
}

bool source_next(struct source *s, struct str *ret_line)
{
	buf_reset(&s->text);
	while (s->rest.len > 0) {
		char first = s->rest.ptr[0];
		bool is_continued = first == ' ' || first == '\t';
		unsigned number = s->next_line;
		struct source before = *s;
		struct str line = take_line(s);

		if (is_skipped(line))
			continue;
		if (s->text.len == 0) {
			s->line = number;
		} else if (!is_continued) {
			s->rest = before.rest;
			s->next_line = number;
			break;
		}
		buf_add(&s->text, line);
	}
	*ret_line = trim_end(buf_str(&s->text));
	return ret_line->len > 0;
}

/* Takes "text" with backslash escapes off the front; false without a closing quote. */
static bool take_quoted(struct str *rest, struct arena *a, struct str *ret_text)
{
	char *text = arena_alloc(a, rest->len);
	size_t len = 0;

	for (size_t i = 1; i < rest->len; i++) {
		char c = rest->ptr[i];

		if (c == '"') {
			*ret_text = str_n(text, len);
			*rest = str_from(*rest, i + 1);
			return true;
		}
		if (c == '\\' && i + 1 < rest->len)
			c = rest->ptr[++i];
		text[len++] = c;
	}
	return false;
}

/* The key ends at the first blank outside double quotes, and keeps its quotes: "a b"@example.com. */
static size_t key_end(struct str line)
{
	bool is_quoted = false;
	size_t i;

	for (i = 0; i < line.len; i++) {
		char c = line.ptr[i];

		if (is_quoted && c == '\\')
			i++;
		else if (c == '"')
			is_quoted = !is_quoted;
		else if (!is_quoted && ascii_is_space(c))
			break;
	}
	return size_min(i, line.len);
}

static const char *parse_entry(struct str line, struct arena *a, struct str *ret_key, struct str *ret_value)
{
	size_t end;

	if (ascii_is_space(line.ptr[0]))
		return "the line must not start with whitespace";
	end = key_end(line);
	*ret_key = arena_str(a, str_cut(line, 0, end));
	line = str_from(line, end);
	*ret_value = arena_str(a, str_trim(line));
	if (ret_key->len == 0 || ret_value->len == 0)
		return "expected format: key whitespace value";
	return NULL;
}

bool source_next_entry(struct source *s, struct arena *a, struct str *ret_key, struct str *ret_value, struct buf *why)
{
	struct str line;

	while (source_next(s, &line)) {
		const char *problem = parse_entry(line, a, ret_key, ret_value);

		if (problem) {
			table_warn(why, s->file, s->line, "%s", problem);
			continue;
		}
		if (ret_key->len > 1 && ret_key->ptr[ret_key->len - 1] == ':')
			table_warn(why, s->file, s->line, "record is in \"key: value\" format; is this an alias file?");
		return true;
	}
	return false;
}

static bool is_atom_char(char c)
{
	return (unsigned char)c > 127 || ascii_is_alnum(c) || (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/* May the local part stand without quotes (dots between atoms)? */
static bool is_dot_atom(struct str s)
{
	bool is_after_dot = true;

	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '.' ? is_after_dot : !is_atom_char(s.ptr[i]))
			return false;
		is_after_dot = s.ptr[i] == '.';
	}
	return !is_after_dot;
}

static struct str quote_local(struct arena *a, struct str s)
{
	char *text = arena_alloc(a, 2 * s.len + 2);
	size_t len = 0;

	text[len++] = '"';
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '"' || s.ptr[i] == '\\')
			text[len++] = '\\';
		text[len++] = s.ptr[i];
	}
	text[len++] = '"';
	return str_n(text, len);
}

static const char *parse_alias(struct str line, struct arena *a, struct str *ret_key, struct str *ret_value)
{
	struct str name;

	if (ascii_is_space(line.ptr[0]))
		return "the line must not start with whitespace";
	if (line.ptr[0] == '"') {
		if (!take_quoted(&line, a, &name))
			return "no closing double quote";
	} else {
		size_t end = str_find_any(line, ": \t");

		name = str_cut(line, 0, end);
		line = str_from(line, end);
	}
	line = str_trim(line);
	if (name.len == 0 || line.len == 0 || line.ptr[0] != ':')
		return "need name:value pair";
	*ret_value = arena_str(a, str_trim(str_from(line, 1)));
	if (ret_value->len == 0)
		return "need name:value pair";
	*ret_key = arena_lower(a, is_dot_atom(name) ? name : quote_local(a, name));
	return NULL;
}

bool source_next_alias(struct source *s, struct arena *a, struct str *ret_key, struct str *ret_value, struct buf *why)
{
	struct str line;

	while (source_next(s, &line)) {
		const char *problem = parse_alias(line, a, ret_key, ret_value);

		if (!problem)
			return true;
		table_warn(why, s->file, s->line, "%s", problem);
	}
	return false;
}
