/* SPDX-License-Identifier: Apache-2.0 */
/* postconf: showing the parameters of main.cf. */
#include <stdlib.h>

#include "base/arena.h"
#include "cmd/postconf/postconf.h"
#include "config/names.h"
#include "config/param.h"

struct name_list {
	struct arena arena;
	struct str *items;
	size_t count;
	size_t size;
};

static void add_name(struct name_list *list, struct str name)
{
	if (list->count == list->size) {
		list->size = size_max(1000, 2 * list->size);
		list->items = mem_resize(list->items, list->size * sizeof(*list->items));
	}
	list->items[list->count++] = arena_str(&list->arena, name);
}

static int compare_names(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static void add_service_names(struct name_list *list, const struct config *c)
{
	struct buf name = BUF_INIT(4000);

	for (size_t i = 0; i < config_service_count(c); i++) {
		const struct service *s = config_service(c, i);
		const struct param *family;
		size_t at = 0;

		while ((family = config_next_family(s->program, &at))) {
			buf_reset(&name);
			buf_add(&name, s->name);
			buf_add(&name, str_from(family->name, strlen("transport")));
			if (!param_find(buf_str(&name)))
				add_name(list, buf_str(&name));
		}
	}
	buf_done(&name);
}

/* The class a declared name is shown under: some limits of the local transport are declared, yet belong to a service. */
static unsigned class_of(const struct config *c, struct str name)
{
	struct str transport;
	bool is_of_local = param_find_family(name, &transport) && str_eq(transport, STR("local"));

	return is_of_local && config_find_service(c, STR("local"), STR("unix")) ? CLASS_SERVICE : CLASS_BUILTIN;
}

/* All names of the classes wanted, sorted, each once. */
static void collect(const struct postconf *pc, const struct config *c, struct name_list *list)
{
	size_t kept = 0;
	struct str name;

	for (size_t i = 0; i < param_count; i++)
		if (param_has_field(&param_table[i]) && (pc->classes & class_of(c, param_table[i].name)))
			add_name(list, param_table[i].name);
	if (pc->classes & CLASS_SERVICE)
		add_service_names(list, c);
	for (size_t i = 0; (pc->classes & CLASS_USER) && config_setting(c, i, &name); i++) {
		enum name_kind kind = config_name_kind(c, name);

		if (kind == NAME_USER || kind == NAME_LEGACY)
			add_name(list, name);
	}
	if (list->count > 0)
		qsort(list->items, list->count, sizeof(*list->items), compare_names);
	for (size_t i = 0; i < list->count; i++)
		if (i == 0 || !str_eq(list->items[i], list->items[i - 1]))
			list->items[kept++] = list->items[i];
	list->count = kept;
}

static bool is_shown(const struct postconf *pc, const struct view *v, struct str name)
{
	if (!pc->is_set_only || view_is_set(v, name))
		return true;
	return pc->is_dir_given && str_eq(name, STR("config_directory"));
}

static void print(const struct postconf *pc, const struct view *v, struct str name)
{
	postconf_print(pc, name, pc->is_expanded ? view_get(v, name) : view_get_raw(v, name));
}

static void print_named(const struct postconf *pc, const struct config *c, struct str name)
{
	const struct view *v = config_main_view(c);

	if (config_name_kind(c, name) == NAME_UNKNOWN)
		postconf_warn("%.*s: unknown parameter", STR_ARG(name));
	else if (is_shown(pc, v, name))
		print(pc, v, name);
}

int postconf_show_main(const struct postconf *pc)
{
	struct config *c = config_load_with(pc->dir, pc->overrides, pc->override_count,
	                                    CONFIG_WITHOUT_ADVICE | (pc->is_default ? CONFIG_WITHOUT_MAIN : 0U));
	struct name_list list = {0};

	if (postconf_problems(pc, c)) {
		config_free(c);
		return 1;
	}
	for (size_t i = 0; i < pc->arg_count; i++)
		print_named(pc, c, str_of(pc->args[i]));
	if (pc->arg_count == 0)
		collect(pc, c, &list);
	for (size_t i = 0; i < list.count; i++)
		if (is_shown(pc, config_main_view(c), list.items[i]))
			print(pc, config_main_view(c), list.items[i]);
	free(list.items);
	arena_done(&list.arena);
	config_free(c);
	return 0;
}
