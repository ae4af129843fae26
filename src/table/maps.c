/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of tables, as *_maps parameters hold them. */
#include <errno.h>

#include "table/table_internal.h"

struct maps {
	struct table **tables;
	size_t count;
	size_t users; /* lookups under way */
	bool is_closed;
};

static int add_table(struct maps *m, struct str spec, unsigned flags, const struct view *view, struct buf *why)
{
	struct table *t;
	int err = table_open(spec, flags, view, &t, why);

	if (err)
		return err;
	m->tables = mem_resize(m->tables, (m->count + 1) * sizeof(struct table *));
	m->tables[m->count++] = t;
	return 0;
}

int maps_open(struct str text, unsigned flags, const struct view *view, struct maps **ret_maps, struct buf *why)
{
	struct maps *m = mem_alloc(sizeof(*m));
	struct str rest = text, spec;

	while (str_next_braced(&rest, ", \t\r\n", &spec)) {
		int err = add_table(m, spec, flags, view, why);

		if (err) {
			maps_close(m);
			return err;
		}
	}
	*ret_maps = m;
	return 0;
}

void maps_close(struct maps *m)
{
	if (!m)
		return;
	/* The last lookup that waits in a table closes it. */
	m->is_closed = true;
	if (m->users)
		return;
	for (size_t i = 0; i < m->count; i++)
		table_close(m->tables[i]);
	free(m->tables);
	free(m);
}

bool maps_is_empty(const struct maps *m)
{
	return m->count == 0;
}

int maps_find(struct maps *m, struct str key, bool is_fixed_only, struct arena *a, struct str *ret_value, struct buf *why)
{
	int err = -ENOENT;

	m->users++;
	for (size_t i = 0; err == -ENOENT && i < m->count; i++)
		if (!is_fixed_only || table_is_fixed_key(m->tables[i]))
			err = table_find(m->tables[i], key, a, ret_value, why);
	if (--m->users == 0 && m->is_closed)
		maps_close(m);
	return err;
}

size_t maps_count(const struct maps *m)
{
	return m->count;
}

struct table *maps_table(const struct maps *m, size_t at)
{
	return m->tables[at];
}

bool maps_have_changed(const struct maps *m)
{
	for (size_t i = 0; i < m->count; i++)
		if (table_has_changed(m->tables[i]))
			return true;
	return false;
}
