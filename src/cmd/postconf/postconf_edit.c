/* SPDX-License-Identifier: Apache-2.0 */
/* postconf: editing main.cf and master.cf. */
#include <errno.h>
#include <stdlib.h>

#include "base/arena.h"
#include "cmd/postconf/postconf.h"
#include "cmd/postconf/postconf_file.h"
#include "cmd/postconf/postconf_request.h"

enum { TEXT_MAX = 1 << 24 };

/* --- main.cf --- */

struct main_edit {
	struct str name;
	struct file_change change;
	bool is_found;
	bool is_over; /* a later request is about the same name */
};

struct main_edits {
	struct arena arena;
	struct main_edit *items;
	size_t count;
};

static struct file_change change_main(void *context, struct str line)
{
	struct main_edits *edits = context;
	struct str name, value;

	if (!str_split(line, '=', &name, &value))
		return (struct file_change){0};
	for (size_t i = edits->count; i-- > 0;)
		if (!edits->items[i].is_over && str_eq(edits->items[i].name, str_trim(name))) {
			edits->items[i].is_found = true;
			return edits->items[i].change;
		}
	return (struct file_change){0};
}

static int check_name(struct str name, const char *arg)
{
	if (str_is_empty(name))
		return postconf_fatal("missing attribute name: \"%s\"", arg);
	if (str_find_any(name, " \t\r\n#") < name.len)
		return postconf_fatal("missing '=' after attribute name: \"%s\"", arg);
	return 0;
}

/* One request: "name=value", or with -e a bare name, which unsets it; -X and -# take bare names. */
static int read_main_edit(const struct postconf *pc, struct main_edits *edits, struct str arg)
{
	struct main_edit *edit = &edits->items[edits->count];
	struct str value = {0};
	bool has_value = pc->action == ACTION_EDIT && str_split(arg, '=', &edit->name, &value);

	if (!has_value)
		edit->name = arg;
	edit->name = str_trim(edit->name);
	if (check_name(edit->name, arg.ptr))
		return 1;
	value = str_trim(value);
	if (has_value)
		edit->change.text = arena_printf(&edits->arena, "%.*s = %.*s", STR_ARG(edit->name), STR_ARG(value));
	else if (pc->action == ACTION_COMMENT)
		edit->change.is_comment = true;
	else
		edit->change.is_removed = true;
	if (str_find_any(edit->change.text, "\r\n") < edit->change.text.len)
		return postconf_fatal("a value cannot hold the end of a line: \"%s\"", arg.ptr);
	for (size_t i = 0; i < edits->count; i++)
		if (!edits->items[i].is_over && str_eq(edits->items[i].name, edit->name)) {
			edits->items[i].is_over = true;
			postconf_warn("ignoring earlier request: '%.*s'", STR_ARG(edits->items[i].change.text));
		}
	edits->count++;
	return 0;
}

/* A shell splits `name = value` in three: such arguments are one request. */
static struct str join_argument(const struct postconf *pc, size_t *at, struct arena *a)
{
	struct str arg = str_of(pc->args[*at]);

	if (pc->action == ACTION_EDIT && !str_has(arg, '=') && *at + 2 < pc->arg_count && strcmp(pc->args[*at + 1], "=") == 0) {
		arg = arena_printf(a, "%s = %s", pc->args[*at], pc->args[*at + 2]);
		*at += 2;
	}
	return arg;
}

static int apply(const struct postconf *pc, const char *file, const struct file_edit *edit)
{
	struct buf path = BUF_INIT(8192);

	buf_addf(&path, "%.*s/%s", STR_ARG(pc->dir), file);
	int err = file_edit(buf_str(&path), edit);
	if (err == -ECANCELED)
		postconf_fatal("%.*s", STR_ARG(buf_str(edit->why)));
	else if (err)
		postconf_fatal("%s: cannot be changed: %s", buf_cstr(&path), strerror(-err));
	buf_done(&path);
	return err ? 1 : 0;
}

/* The lines for names that the file did not have. */
static void finish_main(void *context, struct buf *to)
{
	const struct main_edits *edits = context;

	for (size_t i = 0; i < edits->count; i++)
		if (!edits->items[i].is_found && !edits->items[i].is_over && edits->items[i].change.text.ptr)
			buf_addf(to, "%.*s\n", STR_ARG(edits->items[i].change.text));
}

static int edit_main(const struct postconf *pc)
{
	struct main_edits edits = {0};
	const struct file_edit edit = {.change = change_main, .finish = finish_main, .context = &edits};
	int status = 0;

	edits.items = arena_alloc(&edits.arena, (pc->arg_count + 1) * sizeof(*edits.items));
	for (size_t i = 0; i < pc->arg_count && status == 0; i++)
		status = read_main_edit(pc, &edits, join_argument(pc, &i, &edits.arena));
	if (status == 0)
		status = apply(pc, "main.cf", &edit);
	arena_done(&edits.arena);
	return status;
}

/* --- master.cf --- */

struct master_edit {
	struct arena arena;
	const struct postconf *pc;
	const struct request *requests;
	bool *is_found; /* one for each request */
	size_t count;
	struct buf why; /* not empty: the edit is impossible */
};

static struct str format(struct master_edit *e, const struct service *s)
{
	struct buf text = BUF_INIT(TEXT_MAX);

	postconf_format_service(&text, s, NULL, true);
	struct str line = arena_str(&e->arena, buf_str(&text));
	buf_done(&text);
	return line;
}

/* The same service with one field or its command replaced. */
static void set_field(struct master_edit *e, struct service *s, const struct request *r)
{
	struct buf line = BUF_INIT(TEXT_MAX);

	for (size_t i = 0; i < REQUEST_FIELD_COUNT; i++) {
		if (i > 0)
			buf_add_char(&line, ' ');
		if (str_eq(r->detail, request_fields[i]))
			buf_add(&line, r->value);
		else if (i + 1 < REQUEST_FIELD_COUNT)
			buf_add(&line, s->fields[i]);
		else
			postconf_format_command(&line, s, NULL, false);
	}
	if (e->why.len == 0)
		(void)service_parse(buf_str(&line), &e->arena, s, &e->why);
	buf_done(&line);
}

static bool is_setting_of(struct str setting, struct str name)
{
	return str_eq(str_trim(str_cut(setting, 0, str_find(setting, '='))), name);
}

/* Its -o settings with one added, replaced or removed. Options stand before all other arguments. */
static void set_param(struct master_edit *e, struct service *s, const struct request *r)
{
	struct str *args = arena_alloc(&e->arena, (s->arg_count + 2) * sizeof(*args));
	struct str setting = arena_printf(&e->arena, "%.*s=%.*s", STR_ARG(r->detail), STR_ARG(r->value));
	size_t count = 0, at = 0;
	bool is_set = !r->has_value;

	while (at < s->arg_count && s->args[at].len > 1 && s->args[at].ptr[0] == '-') {
		if (!str_eq(s->args[at], STR("-o")) || at + 1 == s->arg_count) {
			args[count++] = s->args[at++];
			continue;
		}
		bool is_same = is_setting_of(s->args[at + 1], r->detail);
		if (!is_same || !is_set) {
			args[count++] = s->args[at];
			args[count++] = is_same ? setting : s->args[at + 1];
		}
		is_set |= is_same;
		at += 2;
	}
	if (!is_set) {
		args[count++] = STR("-o");
		args[count++] = setting;
	}
	while (at < s->arg_count)
		args[count++] = s->args[at++];
	s->args = args;
	s->arg_count = count;
}

/* What one request makes of a service that it is about. */
static struct file_change change_service(struct master_edit *e, struct service *s, const struct request *r)
{
	struct file_change change = {.is_removed = e->pc->action == ACTION_REMOVE && e->pc->object == OBJECT_SERVICE,
	                             .is_comment = e->pc->action == ACTION_COMMENT};

	if (change.is_removed || change.is_comment)
		return change;
	if (e->pc->object == OBJECT_FIELD)
		set_field(e, s, r);
	else if (e->pc->object == OBJECT_SERVICE_PARAM)
		set_param(e, s, r);
	else if (e->why.len == 0)
		(void)service_parse(r->value, &e->arena, s, &e->why);
	change.text = format(e, s);
	return change;
}

static struct file_change change_master(void *context, struct str line)
{
	struct master_edit *e = context;
	struct file_change change = {0};
	struct buf ignored = BUF_INIT(1000);
	struct service s;
	struct str rest = line, name, type;

	if (!str_next(&rest, " \t\r\n", &name) || !str_next(&rest, " \t\r\n", &type) ||
	    service_parse(line, &e->arena, &s, &ignored)) {
		buf_done(&ignored);
		return change;
	}
	for (size_t i = 0; i < e->count && !change.is_removed; i++) {
		if (!request_part_matches(e->requests[i].name, name) || !request_part_matches(e->requests[i].type, type))
			continue;
		e->is_found[i] = true;
		change = change_service(e, &s, &e->requests[i]);
	}
	buf_done(&ignored);
	return change;
}

/* New services go to the end; other requests that match nothing are told. */
static void finish_master(void *context, struct buf *to)
{
	struct master_edit *e = context;
	const bool is_new = e->pc->object == OBJECT_SERVICE && e->pc->action == ACTION_EDIT;
	struct service s;

	for (size_t i = 0; i < e->count; i++) {
		if (e->is_found[i])
			continue;
		if (is_new && e->why.len == 0 && service_parse(e->requests[i].value, &e->arena, &s, &e->why) == 0)
			buf_addf(to, "%.*s\n", STR_ARG(format(e, &s)));
		else if (!is_new && e->pc->action == ACTION_EDIT)
			postconf_warn("unmatched service_name/type: \"%s\"", e->pc->args[i]);
	}
}

static int edit_master(const struct postconf *pc)
{
	struct master_edit e = {.pc = pc, .count = pc->arg_count, .why = BUF_INIT(4000)};
	struct request *requests = arena_alloc(&e.arena, (pc->arg_count + 1) * sizeof(*requests));
	const struct file_edit edit = {.change = change_master,
	                               .finish = finish_master,
	                               .context = &e,
	                               .why = &e.why,
	                               .is_after_comments = pc->object != OBJECT_SERVICE};
	int status = 0;

	e.requests = requests;
	e.is_found = arena_alloc(&e.arena, pc->arg_count + 1);
	for (size_t i = 0; i < pc->arg_count && status == 0; i++)
		status = request_parse(pc, str_of(pc->args[i]), &requests[i]) ? 1 : 0;
	if (status == 0)
		status = apply(pc, "master.cf", &edit);
	buf_done(&e.why);
	arena_done(&e.arena);
	return status;
}

int postconf_edit(const struct postconf *pc)
{
	if (pc->arg_count == 0)
		return postconf_fatal("-e, -X and -# require arguments");
	if (pc->object == OBJECT_MAIN)
		return edit_main(pc);
	if (pc->action == ACTION_COMMENT && pc->object != OBJECT_SERVICE)
		return postconf_fatal("with option -%c, do not specify -#", pc->object == OBJECT_FIELD ? 'F' : 'P');
	if (pc->action == ACTION_REMOVE && pc->object == OBJECT_FIELD)
		return postconf_fatal("with option -F, do not specify -X");
	return edit_master(pc);
}
