/* SPDX-License-Identifier: Apache-2.0 */
/* static: one answer to every key. */
#include "table/table_internal.h"

struct static_table {
	struct table table;
	char *value;
};

static int static_open(const struct table_type *type, struct str name, unsigned flags, const struct view *view,
                       struct table **ret_table, struct buf *why)
{
	struct static_table *st = mem_alloc(sizeof(*st));
	struct str inside = name;

	if (name.ptr[0] == '{')
		(void)table_unbrace(name, &inside);
	st->value = str_cstr(inside);
	*ret_table = &st->table;
	return 0;
}

static int static_find(struct table *t, struct str key, struct arena *a, struct str *ret_value, struct buf *why)
{
	*ret_value = arena_str(a, str_of(((struct static_table *)t)->value));
	return 0;
}

static void static_close(struct table *t)
{
	free(((struct static_table *)t)->value);
}

const struct table_type table_static = {"static", true, static_open, static_find, NULL, static_close};
