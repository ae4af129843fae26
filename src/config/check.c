/* SPDX-License-Identifier: Apache-2.0 */
/* What is not wrong in a single value, yet worth telling: unknown names, settings without effect, old defaults. */
#include <errno.h>

#include "config/config_internal.h"
#include "config/names.h"
#include "config/typed.h"

static void check_family(struct config *c, const struct view_data *v, const struct entry *entry)
{
	struct str transport;
	const struct param *family = param_find_family(entry->name, &transport);
	struct buf why = BUF_INIT(1000);

	if (family && typed_check(family, view_get(&v->view, entry->name), &why))
		config_error(c, entry->origin, "%.*s = %.*s: %s (%.*s)", STR_ARG(entry->name),
		             STR_ARG(str_cut(entry->value, 0, 200)), buf_cstr(&why), STR_ARG(family->brief));
	buf_done(&why);
}

static void check_unknown(struct config *c, const struct entry *entry)
{
	const struct param *near = param_suggest(entry->name);
	struct str transport;

	if (param_find_family(entry->name, &transport))
		config_warn(c, entry->origin, "%.*s has no effect: master.cf has no transport \"%.*s\"", STR_ARG(entry->name),
		            STR_ARG(transport));
	else if (near)
		config_warn(c, entry->origin, "unknown parameter %.*s; did you mean %.*s?", STR_ARG(entry->name),
		            STR_ARG(near->name));
	else
		config_warn(c, entry->origin, "unknown parameter %.*s; nothing uses it", STR_ARG(entry->name));
}

/* Names that nothing defines, in one entry. */
struct undefined_check {
	struct config *config;
	const struct view_data *view;
	const struct entry *entry;
};

static void check_reference(void *context, struct str name)
{
	const struct undefined_check *u = context;
	struct str transport;

	if (str_is_empty(name) || param_find(name) || map_find(&u->view->user_defined, name) ||
	    param_find_family(name, &transport))
		return;
	config_warn(u->config, u->entry->origin, "%.*s refers to $%.*s, which is not set anywhere and counts as empty",
	            STR_ARG(u->entry->name), STR_ARG(name));
}

static void check_references(struct config *c, const struct view_data *v, const struct entry *entry)
{
	const struct param *p = param_find(entry->name);
	struct undefined_check u = {c, v, entry};
	struct str rest = entry->value, word;

	if (!p)
		return;
	if (p->kind != PARAM_RAW)
		names_each_reference(entry->value, check_reference, &u);
	if (str_eq(entry->name, STR("smtpd_restriction_classes")))
		while (str_next(&rest, ", \t\r\n", &word))
			check_reference(&u, word);
}

static void check_declared(struct config *c, const struct entry *entry)
{
	const struct param *p = param_find(entry->name);

	if (p->support == SUPPORT_PLANNED && !str_is_empty(entry->value) && !str_eq(entry->value, p->value))
		config_warn(c, entry->origin, "%.*s is not supported yet; the setting has no effect", STR_ARG(entry->name));
}

static void check_legacy(struct config *c, const struct entry *entry)
{
	const struct param *p = param_find(entry->name);

	config_warn(c, entry->origin, "%.*s is an older name: %.*s", STR_ARG(entry->name), STR_ARG(p->legacy));
}

/* Text behind a value is part of it, though it may look like a comment. */
static void check_comment(struct config *c, const struct entry *entry)
{
	size_t at = size_min(str_find_str(entry->value, STR(" #")), str_find_str(entry->value, STR("\t#")));

	if (at < entry->value.len)
		config_warn(c, entry->origin, "%.*s: \"%.*s\" is part of the value; put comments on lines of their own",
		            STR_ARG(entry->name), STR_ARG(str_cut(entry->value, at + 1, 60)));
}

static void check_list(struct config *c, const struct view_data *v, const struct entry_list *list, bool with_advice)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct entry *entry = &list->items[i];

		check_references(c, v, entry);
		check_comment(c, entry);
		switch (config_name_kind(c, entry->name)) {
		case NAME_DECLARED:
			if (with_advice)
				check_declared(c, entry);
			break;
		case NAME_LEGACY:
			if (with_advice)
				check_legacy(c, entry);
			break;
		case NAME_SERVICE:
			check_family(c, v, entry);
			break;
		case NAME_UNKNOWN:
			check_unknown(c, entry);
			break;
		case NAME_USER:
			break;
		}
	}
}

/* Is this default another one from a later level on? Such defaults begin with a comparison: ... <level {3.6} ... */
static bool depends_on_level(const struct param *p, struct str level)
{
	const struct str sign = STR("{$compatibility_level} <level {");
	size_t at = str_find_str(p->value, sign);
	int order;

	if (at == p->value.len)
		return false;
	struct str from = str_from(p->value, at + sign.len);
	return expand_compare_levels(level, str_cut(from, 0, str_find(from, '}')), &order) == 0 && order < 0;
}

/* Defaults that are the old ones, because compatibility_level says that the configuration was written for them. */
static void check_level(struct config *c)
{
	const struct str level = view_get(&c->main_view->view, STR("compatibility_level")), latest = STR("3.11");
	struct buf names = BUF_INIT(4000);
	int order;

	if (expand_compare_levels(level, latest, &order)) {
		config_error(c, view_origin(&c->main_view->view, STR("compatibility_level")),
		             "compatibility_level = %.*s: write a version such as 3.6", STR_ARG(level));
		return;
	}
	for (size_t i = 0; order < 0 && i < param_count; i++) {
		const struct param *p = &param_table[i];
		const struct value *value = &c->main_view->declared[i];

		if (value->is_set || !depends_on_level(p, level))
			continue;
		buf_addf(&names, "%s%.*s = %.*s", names.len > 0 ? ", " : "", STR_ARG(p->name), STR_ARG(value->text));
	}
	if (names.len > 0)
		config_warn(c, view_origin(&c->main_view->view, STR("compatibility_level")),
		            "compatibility_level = %.*s keeps defaults of that version where nothing else is set: %s; set "
		            "compatibility_level = %.*s for those of today",
		            STR_ARG(level), buf_cstr(&names), STR_ARG(latest));
	buf_done(&names);
}

void config_check(struct config *c, bool with_advice)
{
	check_list(c, c->main_view, &c->entries, with_advice);
	for (size_t i = 0; i < c->service_count; i++)
		check_list(c, c->service_views[i], &c->overrides[i], with_advice);
	if (with_advice)
		check_level(c);
}
