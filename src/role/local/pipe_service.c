/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the arguments of a pipe service. */
#include "role/local/pipe_service.h"

#include <errno.h>

bool pipe_service_has(const struct pipe_service *s, char flag)
{
	return str_has(s->flags, flag);
}

/* Up to three octal digits behind a backslash. */
static bool read_octal(struct str *rest, struct buf *to)
{
	unsigned value = 0;
	size_t len = 0;

	while (len < 3 && len < rest->len && rest->ptr[len] >= '0' && rest->ptr[len] <= '7')
		value = 8 * value + (unsigned)(rest->ptr[len++] - '0');
	if (len == 0 || value > 255)
		return false;
	buf_add_char(to, (char)value);
	*rest = str_from(*rest, len);
	return true;
}

/* As in C: \n \r \t ... \\ and octal numbers. False for others. */
static bool unescape(struct str text, struct arena *a, struct str *ret_text)
{
	static const char names[] = "abfnrtv\\", meanings[] = "\a\b\f\n\r\t\v\\";
	struct buf result = BUF_INIT(256);
	bool is_good = true;

	while (is_good && text.len > 0) {
		size_t plain = str_find(text, '\\');
		const char *name;

		buf_add(&result, str_cut(text, 0, plain));
		if (plain == text.len)
			break;
		text = str_from(text, plain + 1);
		name = text.len > 0 && text.ptr[0] ? strchr(names, text.ptr[0]) : NULL;
		if (name) {
			buf_add_char(&result, meanings[name - names]);
			text = str_from(text, 1);
		} else {
			is_good = read_octal(&text, &result);
		}
	}
	is_good = is_good && buf_check(&result) == 0;
	*ret_text = arena_str(a, buf_str(&result));
	buf_done(&result);
	return is_good;
}

static bool are_flags_known(struct str flags)
{
	for (size_t i = 0; i < flags.len; i++)
		if (!str_has(STR("BDFORXhqu.>"), flags.ptr[i]))
			return false;
	return true;
}

/* One NAME=VALUE before argv. */
static const char *read_attribute(struct pipe_service *s, struct str name, struct str value, struct arena *a)
{
	long long number;

	if (str_eq(name, STR("flags"))) {
		s->flags = value;
		return are_flags_known(value) ? NULL : "flags= has one that is unknown";
	}
	if (str_eq(name, STR("user"))) {
		if (!str_split(value, ':', &s->user, &s->group))
			s->user = value;
		return NULL;
	}
	if (str_eq(name, STR("size"))) {
		if (str_parse_i64(value, &number) != 0 || number < 0)
			return "bad size=";
		s->size_limit = number;
		return NULL;
	}
	if (str_eq(name, STR("eol")))
		return unescape(value, a, &s->line_end) ? NULL : "bad eol=";
	if (str_eq(name, STR("chroot")))
		s->chroot = value;
	else if (str_eq(name, STR("directory")))
		s->directory = value;
	else if (str_eq(name, STR("null_sender")))
		s->null_sender = value;
	else
		return arena_cstr(a, arena_printf(a, "unknown attribute %.*s=", STR_ARG(name)));
	return NULL;
}

const char *pipe_service_read(const struct service *service, struct arena *a, struct pipe_service *ret_service)
{
	struct pipe_service s = {.null_sender = STR("MAILER-DAEMON"), .line_end = STR("\n")};
	const char *problem = NULL;

	for (size_t i = 0; !problem && i < service->arg_count && s.argc == 0; i++) {
		struct str arg = service->args[i], name, value;

		if (str_starts(arg, STR("-")) || !str_split(arg, '=', &name, &value)) {
			/* -o name=value was taken by the view. */
			i += str_eq(arg, STR("-o"));
		} else if (str_eq(name, STR("argv"))) {
			/* It takes the rest of the line. */
			struct str *argv = arena_alloc(a, (service->arg_count - i) * sizeof(*argv));

			s.argc = service->arg_count - i;
			memcpy(argv, &service->args[i], s.argc * sizeof(*argv));
			argv[0] = value;
			s.argv = argv;
		} else {
			problem = read_attribute(&s, name, value, a);
		}
	}
	*ret_service = s;
	if (problem)
		return problem;
	if (s.argc == 0)
		return "argv= is missing";
	return s.user.len == 0 ? "user= is missing" : NULL;
}
