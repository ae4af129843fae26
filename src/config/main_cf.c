/* SPDX-License-Identifier: Apache-2.0 */
/* Reading main.cf. */
#include "config/main_cf.h"

#include <errno.h>

#include "config/cfline.h"

static bool is_name(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (ascii_is_space(s.ptr[i]))
			return false;
	return true;
}

int main_cf_split(struct str text, struct str *ret_name, struct str *ret_value, const char **why)
{
	struct str name, value;

	if (!str_split(text, '=', &name, &value)) {
		*why = "there is no '='; write name = value";
		return -EINVAL;
	}
	name = str_trim(name);
	if (str_is_empty(name)) {
		*why = "there is no name before '='; write name = value";
		return -EINVAL;
	}
	if (!is_name(name)) {
		*why = "a name has no blanks inside; write name = value";
		return -EINVAL;
	}
	*ret_name = name;
	*ret_value = str_trim(value);
	return 0;
}

static void add_line(struct config *c, struct str file, const struct cfline *line)
{
	struct origin origin = {file, line->first};
	struct str name, value;
	const char *why;

	if (line->is_continuation) {
		config_warn(c, origin,
		            "\"%.*s\" begins with white space, but there is no line before it that it continues; it is ignored",
		            STR_ARG(str_cut(line->text, 0, 60)));
		return;
	}
	if (main_cf_split(line->text, &name, &value, &why)) {
		config_syntax(c, origin, "\"%.*s\": %s", STR_ARG(str_cut(line->text, 0, 60)), why);
		return;
	}
	origin.starts = line->starts;
	origin.start_count = line->start_count;
	/* Counted in the value from now on. */
	for (size_t i = 0; i < line->start_count; i++)
		line->starts[i].at -= size_min((size_t)(value.ptr - line->text.ptr), line->starts[i].at);
	config_set(c, name, value, origin);
}

void main_cf_parse(struct config *c, struct str file, struct str bytes)
{
	struct cfline_reader reader = CFLINE_READER_INIT(bytes);
	struct cfline line;

	while (cfline_next(&reader, &c->arena, &line))
		add_line(c, file, &line);
}
