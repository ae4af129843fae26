/* SPDX-License-Identifier: Apache-2.0 */
/* How postconf prints settings and services. */
#include <stdio.h>

#include "cmd/postconf/postconf.h"

/* Lines of services are one shorter than those of settings, as they always were. */
enum { LINE_WIDTH = 80, SERVICE_WIDTH = 79, OUTPUT_MAX = 1 << 24 };

static const char blanks[] = " \t\r\n";

static void add_json(struct buf *to, struct str text)
{
	buf_add_char(to, '"');
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];

		if (c == '"' || c == '\\')
			buf_addf(to, "\\%c", c);
		else if (c < ' ')
			buf_addf(to, "\\u%04x", c);
		else
			buf_add_char(to, (char)c);
	}
	buf_add_char(to, '"');
}

/* Words with one blank between them; with is_folded a new line where one gets too long. */
static void add_words(struct buf *to, struct str text, bool is_folded)
{
	size_t line_at = 0;
	struct str word;

	while (str_next(&text, blanks, &word)) {
		bool is_full = to->len - line_at + 1 + word.len > LINE_WIDTH;

		if (is_folded && is_full && to->len > line_at) {
			line_at = to->len + 1;
			buf_add(to, STR("\n    "));
		} else if (to->len > 0) {
			buf_add_char(to, ' ');
		}
		buf_add(to, word);
	}
}

void postconf_print(const struct postconf *pc, struct str name, struct str value)
{
	struct buf line = BUF_INIT(OUTPUT_MAX);

	if (pc->is_json) {
		buf_add_char(&line, '{');
		add_json(&line, name);
		buf_add(&line, STR(": "));
		add_json(&line, value);
		buf_add_char(&line, '}');
	} else if (pc->is_name_only) {
		buf_add(&line, name);
	} else {
		if (!pc->is_value_only)
			buf_addf(&line, "%.*s =", STR_ARG(name));
		add_words(&line, value, pc->is_folded);
	}
	puts(buf_cstr(&line));
	buf_done(&line);
}

static bool has_blanks(struct str s)
{
	return str_find_any(s, blanks) < s.len;
}

/* "name=value" of an -o, its value expanded if a view is given. */
static void add_setting(struct buf *to, struct str text, const struct view *expand_by)
{
	struct buf value = BUF_INIT(OUTPUT_MAX), setting = BUF_INIT(OUTPUT_MAX);
	struct str left, right;
	const char *why;

	if (!str_split(text, '=', &left, &right)) {
		buf_add(to, text);
		return;
	}
	if (!expand_by || view_expand(expand_by, str_trim(right), &value, &why)) {
		buf_reset(&value);
		buf_add(&value, str_trim(right));
	}
	buf_addf(&setting, "%.*s=%.*s", STR_ARG(str_trim(left)), STR_ARG(buf_str(&value)));
	buf_addf(to, has_blanks(buf_str(&setting)) ? "{%.*s}" : "%.*s", STR_ARG(buf_str(&setting)));
	buf_done(&value);
	buf_done(&setting);
}

/* A new line, or a blank where the word still has room on this one. */
static void add_break(struct buf *to, size_t *line_at, size_t word_size, bool must_break, bool is_folded)
{
	if (is_folded && (must_break || to->len - *line_at + 1 + word_size > SERVICE_WIDTH)) {
		*line_at = to->len + 1;
		buf_add(to, STR("\n    "));
	} else {
		buf_add_char(to, ' ');
	}
}

static void add_argument(struct buf *to, struct str arg, size_t *line_at, bool must_break, bool is_folded)
{
	bool is_braced = has_blanks(arg) || str_is_empty(arg);

	add_break(to, line_at, arg.len + (is_braced ? 2 : 0), must_break, is_folded);
	buf_addf(to, is_braced ? "{%.*s}" : "%.*s", STR_ARG(arg));
}

/* `line_at` is where the current output line begins in `to`. */
static void add_command(struct buf *to, const struct service *s, const struct view *expand_by, bool is_folded, size_t line_at)
{
	bool is_option = true, is_after_setting = false;

	buf_add(to, s->program);
	for (size_t i = 0; i < s->arg_count; i++) {
		struct str arg = s->args[i];

		is_option = is_option && arg.len > 1 && arg.ptr[0] == '-';
		bool is_setting = is_option && arg.ptr[1] == 'o' && (arg.len > 2 || i + 1 < s->arg_count);
		if (is_setting) {
			add_break(to, &line_at, 0, true, is_folded);
			buf_add(to, STR("-o "));
			add_setting(to, arg.len > 2 ? str_from(arg, 2) : s->args[++i], expand_by);
		} else {
			add_argument(to, arg, &line_at, is_after_setting, is_folded);
		}
		is_after_setting = is_setting;
	}
}

void postconf_format_command(struct buf *to, const struct service *s, const struct view *expand_by, bool is_folded)
{
	add_command(to, s, expand_by, is_folded, to->len);
}

void postconf_format_service(struct buf *to, const struct service *s, const struct view *expand_by, bool is_folded)
{
	/* Where the columns of the stock master.cf begin. */
	static const size_t columns[] = {0, 11, 17, 25, 33, 41, 49, 57};
	const size_t start = to->len;

	for (size_t i = 0; i < COUNT_OF(s->fields) - 1; i++) {
		buf_add(to, s->fields[i]);
		do
			buf_add_char(to, ' ');
		while (to->len - start < columns[i + 1]);
	}
	add_command(to, s, expand_by, is_folded, start);
}
