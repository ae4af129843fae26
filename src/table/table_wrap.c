/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables made of tables: proxy and debug pass everything on to one table; pipemap feeds the
 * result of one to the next; unionmap joins all results; randmap picks one of its texts.
 */
#include <errno.h>

#include "base/random.h"
#include "table/table_internal.h"

enum { CHILDREN_MAX = 100, RESULT_MAX = 1 << 20 };

struct wrap_table {
	struct table table;
	struct arena arena;
	struct str *texts; /* randmap */
	size_t text_count;
};

static void wrap_free(struct wrap_table *wt)
{
	for (size_t i = 0; i < wt->table.child_count; i++)
		table_close(wt->table.children[i]);
	free(wt->table.children);
	arena_done(&wt->arena);
	free(wt);
}

static void wrap_close(struct table *t)
{
	arena_done(&((struct wrap_table *)t)->arena);
}

static int add_child(struct wrap_table *wt, struct str spec, unsigned flags, const struct view *view, struct buf *why)
{
	struct table *t = &wt->table;
	int err;

	if (t->child_count == CHILDREN_MAX) {
		buf_addf(why, "more than %d tables in one", CHILDREN_MAX);
		return -EINVAL;
	}
	t->children = mem_resize(t->children, (t->child_count + 1) * sizeof(struct table *));
	err = table_open(spec, flags, view, &t->children[t->child_count], why);
	if (err)
		return err;
	if (t->child_count == 0)
		t->is_fixed_key = true;
	t->is_fixed_key = t->is_fixed_key && t->children[t->child_count]->is_fixed_key;
	t->may_wait = t->may_wait || t->children[t->child_count]->may_wait;
	t->child_count++;
	return 0;
}

static int single_open(const struct table_type *type, struct str name, unsigned flags, const struct view *view,
                       struct table **ret_table, struct buf *why)
{
	struct wrap_table *wt = mem_alloc(sizeof(*wt));
	int err = add_child(wt, name, flags, view, why);

	if (err) {
		wrap_free(wt);
		return err;
	}
	*ret_table = &wt->table;
	return 0;
}

static int single_find(struct table *t, struct str key, struct arena *a, struct str *ret_value, struct buf *why)
{
	return table_find(t->children[0], key, a, ret_value, why);
}

static int single_walk(struct table *t, table_entry_fn *fn, void *arg)
{
	return table_walk(t->children[0], fn, arg);
}

static int bad_list(const struct table_type *type, struct str name, struct buf *why)
{
	buf_addf(why, "bad syntax: \"%s:%.*s\"; need \"%s:{type:name, ...}\"", type->name, STR_ARG(name), type->name);
	return -EINVAL;
}

static int list_open(const struct table_type *type, struct str name, unsigned flags, const struct view *view,
                     struct table **ret_table, struct buf *why)
{
	struct wrap_table *wt;
	struct str rest, item;

	if (!table_unbrace(name, &rest) || rest.len == 0)
		return bad_list(type, name, why);
	wt = mem_alloc(sizeof(*wt));
	while (str_next_braced(&rest, ", \t\r\n", &item)) {
		int err = add_child(wt, item, flags, view, why);

		if (err) {
			wrap_free(wt);
			return err;
		}
	}
	if (wt->table.child_count == 0) {
		wrap_free(wt);
		return bad_list(type, name, why);
	}
	*ret_table = &wt->table;
	return 0;
}

static int pipemap_find(struct table *t, struct str key, struct arena *a, struct str *ret_value, struct buf *why)
{
	int err = 0;

	for (size_t i = 0; !err && i < t->child_count; i++)
		err = table_find(t->children[i], key, a, &key, why);
	if (!err)
		*ret_value = key;
	return err;
}

static int unionmap_find(struct table *t, struct str key, struct arena *a, struct str *ret_value, struct buf *why)
{
	struct buf all = BUF_INIT(RESULT_MAX);
	struct str one;
	int err = 0;

	for (size_t i = 0; i < t->child_count; i++) {
		err = table_find(t->children[i], key, a, &one, why);
		if (err && err != -ENOENT)
			break;
		if (!err && one.len > 0) {
			if (all.len > 0)
				buf_add_char(&all, ',');
			buf_add(&all, one);
		}
		err = 0;
	}
	if (!err && all.len == 0)
		err = -ENOENT;
	if (!err)
		*ret_value = arena_str(a, buf_str(&all));
	buf_done(&all);
	return err;
}

static int randmap_open(const struct table_type *type, struct str name, unsigned flags, const struct view *view,
                        struct table **ret_table, struct buf *why)
{
	struct wrap_table *wt = mem_alloc(sizeof(*wt));
	struct str rest, item;

	if (!table_unbrace(name, &rest))
		rest = STR("");
	wt->texts = arena_alloc(&wt->arena, (rest.len + 1) * sizeof(*wt->texts));
	while (str_next_braced(&rest, ", \t\r\n", &item)) {
		struct str inside = item;

		(void)table_unbrace(item, &inside);
		wt->texts[wt->text_count++] = arena_str(&wt->arena, inside);
	}
	if (wt->text_count == 0) {
		wrap_free(wt);
		buf_addf(why, "bad syntax: \"randmap:%.*s\"; need \"randmap:{value, ...}\"", STR_ARG(name));
		return -EINVAL;
	}
	*ret_table = &wt->table;
	return 0;
}

static int randmap_find(struct table *t, struct str key, struct arena *a, struct str *ret_value, struct buf *why)
{
	struct wrap_table *wt = (struct wrap_table *)t;

	*ret_value = arena_str(a, wt->texts[random_below((uint32_t)wt->text_count)]);
	return 0;
}

const struct table_type table_proxy = {"proxy", true, single_open, single_find, single_walk, wrap_close};
const struct table_type table_debug = {"debug", true, single_open, single_find, single_walk, wrap_close};
const struct table_type table_pipemap = {"pipemap", true, list_open, pipemap_find, NULL, wrap_close};
const struct table_type table_unionmap = {"unionmap", true, list_open, unionmap_find, NULL, wrap_close};
const struct table_type table_randmap = {"randmap", false, randmap_open, randmap_find, NULL, wrap_close};
