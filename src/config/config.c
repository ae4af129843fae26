/* SPDX-License-Identifier: Apache-2.0 */
/* Loading a configuration, its problems, and finding what it holds. */
#include "config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <unistd.h>

#include "config/config_internal.h"
#include "config/main_cf.h"
#include "config/master_cf.h"
#include "config/params.h"

enum { FILE_SIZE_MAX = 1 << 26 };

PRINTF_LIKE(3, 0) static void add_problem(struct config *c, struct config_problem problem, const char *fmt, va_list args)
{
	struct buf text = BUF_INIT(4000);

	buf_vaddf(&text, fmt, args);
	for (size_t i = 0; i < c->problem_count; i++) {
		const struct config_problem *known = &c->problems[i];

		if (known->origin.line == problem.origin.line && str_eq(known->origin.file, problem.origin.file) &&
		    str_eq(known->text, buf_str(&text))) {
			buf_done(&text);
			return;
		}
	}
	if (c->problem_count == c->problem_size) {
		c->problem_size = size_max(16, 2 * c->problem_size);
		c->problems = mem_resize(c->problems, c->problem_size * sizeof(*c->problems));
	}
	problem.text = arena_str(&c->arena, buf_str(&text));
	c->problems[c->problem_count++] = problem;
	c->error_count += problem.is_error;
	buf_done(&text);
}

void config_error(struct config *c, struct origin origin, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	add_problem(c, (struct config_problem){.is_error = true, .origin = origin}, fmt, args);
	va_end(args);
}

void config_syntax(struct config *c, struct origin origin, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	add_problem(c, (struct config_problem){.is_error = true, .is_syntax = true, .origin = origin}, fmt, args);
	va_end(args);
}

void config_warn(struct config *c, struct origin origin, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	add_problem(c, (struct config_problem){.origin = origin}, fmt, args);
	va_end(args);
}

void entry_list_add(struct entry_list *list, struct arena *a, struct entry entry)
{
	if (list->count == list->size) {
		size_t size = size_max(8, 2 * list->size);
		struct entry *items = arena_alloc(a, size * sizeof(*items));

		if (list->count > 0)
			memcpy(items, list->items, list->count * sizeof(*items));
		list->items = items;
		list->size = size;
	}
	list->items[list->count++] = entry;
}

void config_set(struct config *c, struct str name, struct str value, struct origin origin)
{
	size_t place = (size_t)map_find(&c->by_name, name);

	if (place == 0) {
		entry_list_add(&c->entries, &c->arena, (struct entry){name, value, origin});
		(void)map_set(&c->by_name, name, (void *)c->entries.count);
		return;
	}
	struct entry *known = &c->entries.items[place - 1];
	if (!str_is_empty(origin.file) && !str_eq(known->value, value))
		config_warn(c, origin, "%.*s is set a second time; this value replaces the one in line %u", STR_ARG(name),
		            known->origin.line);
	*known = (struct entry){name, value, origin};
}

int config_read_file(struct config *c, const char *path, struct str *ret_bytes)
{
	struct buf bytes = BUF_INIT(FILE_SIZE_MAX);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 1;

	if (fd < 0)
		return -errno;
	while (n > 0) {
		char *room = buf_room(&bytes, 65536);

		n = room ? read(fd, room, 65536) : -1;
		if (n > 0)
			buf_added(&bytes, (size_t)n);
	}
	int err = n < 0 ? -(errno ? errno : EFBIG) : 0;
	close(fd);
	if (!err)
		*ret_bytes = arena_str(&c->arena, buf_str(&bytes));
	buf_done(&bytes);
	return err;
}

static struct str load_file(struct config *c, const char *name, struct str *ret_path)
{
	struct str bytes = {0};

	*ret_path = arena_printf(&c->arena, "%.*s/%s", STR_ARG(c->dir), name);
	int err = config_read_file(c, ret_path->ptr, &bytes);
	if (err)
		config_syntax(c, (struct origin){*ret_path, 0}, "the file cannot be read: %s", strerror(-err));
	return bytes;
}

static void load_override(struct config *c, struct str text)
{
	struct str name, value;
	const char *why;

	if (main_cf_split(text, &name, &value, &why))
		config_syntax(c, (struct origin){0}, "option -o %.*s: %s", STR_ARG(text), why);
	else
		config_set(c, arena_str(&c->arena, name), arena_str(&c->arena, value), (struct origin){0});
}

struct config *config_load_with(struct str dir, const struct str *overrides, size_t override_count, unsigned flags)
{
	struct config *c = mem_alloc(sizeof(*c));
	struct str path, bytes;

	while (dir.len > 1 && dir.ptr[dir.len - 1] == '/')
		dir.len--;
	c->dir = arena_str(&c->arena, dir);
	c->may_ask_system = true;
	c->is_default = flags & CONFIG_WITHOUT_MAIN;
	c->is_for_showing = flags & CONFIG_WITHOUT_ADVICE;
	machine_read(&c->machine, &c->arena);
	if (!(flags & CONFIG_WITHOUT_MAIN)) {
		bytes = load_file(c, "main.cf", &path);
		main_cf_parse(c, path, bytes);
		for (size_t i = 0; i < override_count; i++)
			load_override(c, overrides[i]);
	}
	bytes = load_file(c, "master.cf", &path);
	master_cf_parse(c, path, bytes);
	config_note_names(c);
	config_compile(c);
	config_compile_services(c);
	config_check(c, !(flags & CONFIG_WITHOUT_ADVICE));
	return c;
}

struct config *config_load(struct str dir, const struct str *overrides, size_t override_count)
{
	return config_load_with(dir, overrides, override_count, 0);
}

void config_compile(struct config *c)
{
	c->main_view = view_new(c, NULL, NULL);
	c->service_views = arena_alloc(&c->arena, (c->service_count + 1) * sizeof(*c->service_views));
}

static struct view_data *service_view(struct config *c, size_t at)
{
	if (!c->service_views[at])
		c->service_views[at] = view_new(c, &c->services[at], &c->overrides[at]);
	return c->service_views[at];
}

void config_compile_services(struct config *c)
{
	for (size_t i = 0; i < c->service_count; i++) {
		struct view_data *v = service_view(c, i);

		if (!c->services[i].has_process_limit)
			c->services[i].process_limit = (unsigned)v->params->default_process_limit;
	}
}

void config_free(struct config *c)
{
	if (!c)
		return;
	view_done(c->main_view);
	for (size_t i = 0; i < c->service_count; i++)
		if (c->service_views[i])
			view_done(c->service_views[i]);
	map_done(&c->by_name);
	map_done(&c->used_names);
	map_done(&c->used_tables);
	free(c->problems);
	arena_done(&c->arena);
	free(c);
}

bool config_has_errors(const struct config *c)
{
	return c->error_count > 0;
}

size_t config_problem_count(const struct config *c)
{
	return c->problem_count;
}

const struct config_problem *config_problem(const struct config *c, size_t at)
{
	return &c->problems[at];
}

void config_problem_format(struct buf *to, const struct config_problem *p)
{
	if (!str_is_empty(p->origin.file))
		buf_addf(to, "%.*s:", STR_ARG(p->origin.file));
	if (p->origin.line > 0)
		buf_addf(to, "%u:", p->origin.line);
	if (!str_is_empty(p->origin.file))
		buf_add_char(to, ' ');
	buf_addf(to, "%s%.*s", p->is_error ? "error: " : "warning: ", STR_ARG(p->text));
}

struct str config_dir(const struct config *c)
{
	return c->dir;
}

size_t config_service_count(const struct config *c)
{
	return c->service_count;
}

const struct service *config_service(const struct config *c, size_t at)
{
	return &c->services[at];
}

const struct service *config_find_service(const struct config *c, struct str name, struct str type)
{
	for (size_t i = 0; i < c->service_count; i++)
		if (str_eq(c->services[i].name, name) && str_eq(c->services[i].type, type))
			return &c->services[i];
	return NULL;
}

bool config_allows_protocol(struct str inet_protocols, struct str protocol)
{
	return str_list_has(inet_protocols, STR("all")) || str_list_has(inet_protocols, protocol);
}

const struct view *config_main_view(const struct config *c)
{
	return &c->main_view->view;
}

const struct view *config_service_view(const struct config *c, const struct service *s)
{
	/* A view is made when it is first wanted: a process uses few of them. Nothing else about the configuration changes. */
	return &service_view((struct config *)c, s->index)->view;
}

bool config_setting(const struct config *c, size_t at, struct str *ret_name)
{
	if (at >= c->entries.count)
		return false;
	*ret_name = c->entries.items[at].name;
	return true;
}

size_t config_override_count(const struct config *c, const struct service *s)
{
	return c->overrides[s->index].count;
}

struct str config_override_name(const struct config *c, const struct service *s, size_t at)
{
	return c->overrides[s->index].items[at].name;
}
