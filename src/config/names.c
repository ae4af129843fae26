/* SPDX-License-Identifier: Apache-2.0 */
/* Telling parameters from names that people made up. */
#include "config/names.h"

#include "config/config_internal.h"

/* Table types whose settings may stand in main.cf, as NAME_attribute. */
static const struct str tables_with_settings[] = {STR("ldap"),  STR("mongodb"), STR("mysql"),
                                                  STR("pgsql"), STR("sqlite"),  STR("memcache")};

/* Programs that qmgr hands mail to under its own limits. */
static const struct str delivery_programs[] = {STR("error"), STR("lmtp"), STR("local"), STR("pipe"), STR("smtp"), STR("virtual")};

static bool is_name_char(char c)
{
	return ascii_is_alnum(c) || c == '_';
}

static void note(void *context, struct str name)
{
	static char is_noted;
	struct map *to = context;

	if (!str_is_empty(name))
		(void)map_set(to, name, &is_noted);
}

void names_each_reference(struct str text, name_fn *fn, void *context)
{
	for (size_t i = 0; i + 1 < text.len; i++) {
		if (text.ptr[i] != '$')
			continue;
		if (text.ptr[i + 1] == '$') {
			i++;
			continue;
		}
		size_t start = i + 1, end;
		if (text.ptr[start] == '{' || text.ptr[start] == '(')
			start++;
		while (start < text.len && ascii_is_space(text.ptr[start]))
			start++;
		for (end = start; end < text.len && is_name_char(text.ptr[end]);)
			end++;
		fn(context, str_cut(text, start, end - start));
	}
}

/* Names of tables whose settings may be in main.cf: NAME of "ldap:NAME". */
static void note_tables(struct map *to, struct str text)
{
	struct str word, type, name;

	while (str_next(&text, ", \t\r\n{}", &word)) {
		if (str_starts(word, STR("proxy:")))
			word = str_from(word, 6);
		if (!str_split(word, ':', &type, &name) || str_is_empty(name) || name.ptr[0] == '/')
			continue;
		for (size_t i = 0; i < COUNT_OF(tables_with_settings); i++)
			if (str_eq(type, tables_with_settings[i]))
				note(to, name);
	}
}

static void note_list(struct config *c, const struct entry_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct entry *entry = &list->items[i];
		const struct param *p = param_find(entry->name);
		struct str rest = entry->value, word;

		if (!p || p->kind != PARAM_RAW)
			names_each_reference(entry->value, note, &c->used_names);
		note_tables(&c->used_tables, entry->value);
		if (str_eq(entry->name, STR("smtpd_restriction_classes")))
			while (str_next(&rest, ", \t\r\n", &word))
				note(&c->used_names, word);
	}
}

void config_note_names(struct config *c)
{
	for (size_t i = 0; i < param_count; i++)
		if (!(param_table[i].flags & PARAM_LEGACY) && param_table[i].kind != PARAM_RAW)
			names_each_reference(param_table[i].value, note, &c->used_names);
	note_list(c, &c->entries);
	for (size_t i = 0; i < c->service_count; i++)
		note_list(c, &c->overrides[i]);
}

const struct param *config_next_family(struct str program, size_t *at)
{
	bool is_delivery = false, is_timed = str_eq(program, STR("pipe")) || str_eq(program, STR("spawn"));

	for (size_t i = 0; i < COUNT_OF(delivery_programs); i++)
		is_delivery |= str_eq(program, delivery_programs[i]);
	while (*at < param_count) {
		const struct param *p = &param_table[(*at)++];

		if (!(p->flags & PARAM_FAMILY))
			continue;
		if (str_eq(p->name, STR("transport_time_limit")) ? is_timed : is_delivery)
			return p;
	}
	return NULL;
}

static bool is_of_service(const struct config *c, struct str name)
{
	struct str transport;
	const struct param *family = param_find_family(name, &transport), *p;

	for (size_t i = 0; family && i < c->service_count; i++) {
		size_t at = 0;

		if (!str_eq(c->services[i].name, transport))
			continue;
		while ((p = config_next_family(c->services[i].program, &at)))
			if (p == family)
				return true;
	}
	return false;
}

static bool is_table_setting(const struct config *c, struct str name)
{
	for (size_t end = 1; end < name.len; end++)
		if (name.ptr[end] == '_' && map_find(&c->used_tables, str_cut(name, 0, end)))
			return true;
	return false;
}

enum name_kind config_name_kind(const struct config *c, struct str name)
{
	const struct param *p = param_find(name);

	if (p && !(p->flags & (PARAM_LEGACY | PARAM_FAMILY)))
		return NAME_DECLARED;
	if (is_of_service(c, name))
		return NAME_SERVICE;
	if (p && (p->flags & PARAM_LEGACY))
		return NAME_LEGACY;
	if (map_find(&c->used_names, name) || is_table_setting(c, name))
		return NAME_USER;
	return NAME_UNKNOWN;
}
