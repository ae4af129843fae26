/* SPDX-License-Identifier: Apache-2.0 */
/* Reading master.cf. */
#include "config/master_cf.h"

#include <errno.h>

#include "config/cfline.h"
#include "config/main_cf.h"

enum { FIELD_COUNT = 8, ARGUMENT_MAX = 10000 };

static const struct str types[] = {STR("inet"), STR("unix"), STR("unix-dgram"), STR("fifo"), STR("pass")};

static const struct str programs[] = {
	STR("anvil"),  STR("bounce"),   STR("cleanup"),         STR("discard"),    STR("dnsblog"),       STR("error"),
	STR("flush"),  STR("lmtp"),     STR("local"),           STR("master"),     STR("nbdb_reindexd"), STR("oqmgr"),
	STR("pickup"), STR("pipe"),     STR("postlogd"),        STR("postscreen"), STR("proxymap"),      STR("qmgr"),
	STR("qmqpd"),  STR("scache"),   STR("showq"),           STR("smtp"),       STR("smtpd"),         STR("spawn"),
	STR("tlsmgr"), STR("tlsproxy"), STR("trivial-rewrite"), STR("verify"),     STR("virtual"),
};

static bool is_one_of(const struct str *list, size_t count, struct str word)
{
	for (size_t i = 0; i < count; i++)
		if (str_eq(list[i], word))
			return true;
	return false;
}

/* y, n or - for the default. */
static bool read_flag(struct config *c, struct origin origin, const char *what, struct str text, bool otherwise)
{
	if (str_eq(text, STR("-")))
		return otherwise;
	if (!str_eq(text, STR("y")) && !str_eq(text, STR("n")))
		config_error(c, origin, "the field \"%s\" is \"%.*s\"; write y, n or -", what, STR_ARG(text));
	return str_eq(text, STR("y"));
}

static void check_inet(struct config *c, struct service *s)
{
	if (str_eq(s->type, STR("inet")) && s->is_private)
		config_error(c, s->origin, "inet service \"%.*s\" cannot be private; write n in the third field",
		             STR_ARG(s->name));
}

static void read_wakeup(struct config *c, struct service *s, struct str text)
{
	struct str digits = str_ends(text, STR("?")) ? str_cut(text, 0, text.len - 1) : text;
	unsigned long long seconds;

	s->wakeup = text;
	if (!str_eq(text, STR("-")) && str_parse_u64(digits, &seconds))
		config_error(c, s->origin, "the field \"wakeup\" is \"%.*s\"; write seconds, perhaps with ? behind, or -",
		             STR_ARG(text));
}

static void read_limit(struct config *c, struct service *s, struct str text)
{
	unsigned long long limit = 0;

	s->has_process_limit = !str_eq(text, STR("-"));
	if (s->has_process_limit && (str_parse_u64(text, &limit) || limit > 1000000))
		config_error(c, s->origin, "the field \"maxproc\" is \"%.*s\"; write a number, 0 for no limit, or -",
		             STR_ARG(text));
	s->process_limit = (unsigned)limit;
}

/* An argument without its outer braces and the blanks inside them. */
static struct str unbrace(struct config *c, struct origin origin, struct str text)
{
	if (text.len == 0 || text.ptr[0] != '{')
		return text;
	if (text.len < 2 || text.ptr[text.len - 1] != '}') {
		config_error(c, origin, "the argument \"%.*s\" begins with { but its closing } is missing or has text behind it",
		             STR_ARG(text));
		return text;
	}
	return str_trim(str_cut(text, 1, text.len - 2));
}

static void read_arguments(struct config *c, struct service *s, struct str rest)
{
	struct str word, count_rest = rest;
	size_t count = 0;

	while (count < ARGUMENT_MAX && str_next_braced(&count_rest, " \t\r", &word))
		count++;
	s->args = arena_alloc(&c->arena, (count + 1) * sizeof(*s->args));
	while (s->arg_count < count && str_next_braced(&rest, " \t\r", &word))
		s->args[s->arg_count++] = unbrace(c, s->origin, word);
}

static void read_override(struct config *c, const struct service *s, struct entry_list *to, struct str text)
{
	struct entry entry = {.origin = s->origin};
	const char *why;

	if (main_cf_split(text, &entry.name, &entry.value, &why))
		config_error(c, s->origin, "option \"-o %.*s\": write -o name=value without blanks, or -o { name = value }",
		             STR_ARG(text));
	else
		entry_list_add(to, &c->arena, entry);
}

/* The options in front of the other arguments, as getopt(3) reads them: -v, -o name=value, -oname=value. */
static void read_options(struct config *c, const struct service *s, struct entry_list *to)
{
	for (size_t i = 0; i < s->arg_count; i++) {
		struct str arg = s->args[i];

		if (arg.len < 2 || arg.ptr[0] != '-' || str_eq(arg, STR("--")))
			return;
		if (arg.ptr[1] != 'o')
			continue;
		if (arg.len > 2)
			read_override(c, s, to, str_from(arg, 2));
		else if (i + 1 < s->arg_count)
			read_override(c, s, to, s->args[++i]);
		else
			config_error(c, s->origin, "option -o has nothing behind it; write -o name=value");
	}
}

static void read_service(struct config *c, struct service *s, const struct str fields[FIELD_COUNT], struct str rest)
{
	const bool is_inet = str_eq(fields[1], STR("inet"));

	memcpy(s->fields, fields, sizeof(s->fields));
	s->name = fields[0];
	s->type = fields[1];
	s->is_private = read_flag(c, s->origin, "private", fields[2], !is_inet);
	s->is_unprivileged = read_flag(c, s->origin, "unpriv", fields[3], true);
	s->has_chroot = read_flag(c, s->origin, "chroot", fields[4], false);
	check_inet(c, s);
	read_wakeup(c, s, fields[5]);
	read_limit(c, s, fields[6]);
	s->program = fields[7];
	if (!is_one_of(programs, COUNT_OF(programs), s->program))
		config_warn(c, s->origin,
		            "service \"%.*s\" runs \"%.*s\", a program that is not known here; the service is ignored",
		            STR_ARG(s->name), STR_ARG(s->program));
	read_arguments(c, s, rest);
}

/* The place for a service: that of one with its name and type, which it replaces, or a new one. Tools show both. */
static size_t place_for(struct config *c, struct str name, struct str type, struct origin origin)
{
	for (size_t i = 0; i < c->service_count; i++) {
		const struct service *s = &c->services[i];

		if (str_eq(s->name, name) && str_eq(s->type, type)) {
			config_warn(c, origin, "service \"%.*s %.*s\" replaces the one in line %u", STR_ARG(name), STR_ARG(type),
			            s->origin.line);
			return c->is_for_showing ? c->service_count++ : i;
		}
	}
	return c->service_count++;
}

static void add_line(struct config *c, struct str file, const struct cfline *line)
{
	const struct origin origin = {file, line->first};
	struct str fields[FIELD_COUNT], rest = line->text;

	if (line->is_continuation) {
		config_warn(c, origin,
		            "\"%.*s\" begins with white space, but there is no line before it that it continues; it is ignored",
		            STR_ARG(str_cut(line->text, 0, 60)));
		return;
	}
	for (size_t i = 0; i < FIELD_COUNT; i++)
		if (!str_next(&rest, " \t\r", &fields[i])) {
			config_syntax(c, origin,
			              "\"%.*s\" is no service; write: name type private unpriv chroot wakeup maxproc program",
			              STR_ARG(str_cut(line->text, 0, 60)));
			return;
		}
	if (!is_one_of(types, COUNT_OF(types), fields[1])) {
		config_error(c, origin, "service \"%.*s\" has the type \"%.*s\"; write inet, unix, unix-dgram, fifo or pass",
		             STR_ARG(fields[0]), STR_ARG(fields[1]));
		return;
	}
	size_t at = place_for(c, fields[0], fields[1], origin);
	c->services[at] = (struct service){.origin = origin, .index = at};
	c->overrides[at] = (struct entry_list){0};
	read_service(c, &c->services[at], fields, rest);
	read_options(c, &c->services[at], &c->overrides[at]);
}

void master_cf_parse(struct config *c, struct str file, struct str bytes)
{
	struct cfline_reader reader = CFLINE_READER_INIT(bytes), counter = reader;
	struct arena scratch = ARENA_INIT;
	struct cfline line;
	size_t count = 0;

	while (cfline_next(&counter, &scratch, &line))
		count++;
	arena_done(&scratch);
	c->services = arena_alloc(&c->arena, (count + 1) * sizeof(*c->services));
	c->overrides = arena_alloc(&c->arena, (count + 1) * sizeof(*c->overrides));
	while (cfline_next(&reader, &c->arena, &line))
		add_line(c, file, &line);
}

int service_parse(struct str line, struct arena *a, struct service *ret, struct buf *why)
{
	struct config scratch = {0};
	int err = 0;

	master_cf_parse(&scratch, STR(""), arena_str(a, line));
	for (size_t i = 0; i < scratch.problem_count && !err; i++)
		if (scratch.problems[i].is_error) {
			buf_add(why, scratch.problems[i].text);
			err = -EINVAL;
		}
	if (!err && scratch.service_count != 1) {
		buf_add(why, STR("one service is wanted; write: name type private unpriv chroot wakeup maxproc program"));
		err = -EINVAL;
	}
	if (!err) {
		*ret = scratch.services[0];
		ret->args = arena_alloc(a, (ret->arg_count + 1) * sizeof(*ret->args));
		memcpy(ret->args, scratch.services[0].args, ret->arg_count * sizeof(*ret->args));
	}
	free(scratch.problems);
	arena_done(&scratch.arena);
	return err;
}
