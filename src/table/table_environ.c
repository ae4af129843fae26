/* SPDX-License-Identifier: Apache-2.0 */
/* environ: environment variables of this process; the table's name does not matter. */
#include <errno.h>
#include <unistd.h>

#include "table/table_internal.h"

static int environ_open(const struct table_type *type, struct str name, unsigned flags, const struct view *view,
                        struct table **ret_table, struct buf *why)
{
	*ret_table = mem_alloc(sizeof(struct table));
	return 0;
}

static int environ_find(struct table *t, struct str key, struct arena *a, struct str *ret_value, struct buf *why)
{
	const char *value = getenv(arena_cstr(a, key));

	if (!value)
		return -ENOENT;
	*ret_value = arena_str(a, str_of(value));
	return 0;
}

static int environ_walk(struct table *t, table_entry_fn *fn, void *arg)
{
	for (char **at = environ; *at; at++) {
		struct str key, value;

		if (str_split(str_of(*at), '=', &key, &value) && !fn(key, value, arg))
			break;
	}
	return 0;
}

const struct table_type table_environ = {"environ", true, environ_open, environ_find, environ_walk, NULL};
