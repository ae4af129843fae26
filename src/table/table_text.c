/* SPDX-License-Identifier: Apache-2.0 */
/* texthash: a postmap source read into memory, and inline: the same from the configuration itself. */
#include <errno.h>

#include "base/map.h"
#include "table/read_file.h"
#include "table/source.h"
#include "table/table_internal.h"

struct text_table {
	struct table table;
	struct map entries; /* to struct str in the arena */
	struct arena arena;
};

static void text_close(struct table *t)
{
	struct text_table *tt = (struct text_table *)t;

	map_done(&tt->entries);
	arena_done(&tt->arena);
}

/* False if the key was there: the first entry stays. */
static bool text_add(struct text_table *tt, struct str key, struct str value, unsigned flags)
{
	struct str *entry;

	if (flags & TABLE_FOLD)
		key = arena_lower(&tt->arena, key);
	if (map_find(&tt->entries, key))
		return false;
	entry = arena_alloc(&tt->arena, sizeof(*entry));
	*entry = value;
	map_set(&tt->entries, key, entry);
	return true;
}

static void text_free(struct text_table *tt)
{
	text_close(&tt->table);
	file_stamp_done(&tt->table.file);
	free(tt);
}

static int texthash_open(const struct table_type *type, struct str name, unsigned flags, const struct view *view,
                         struct table **ret_table, struct buf *why)
{
	struct text_table *tt = mem_alloc(sizeof(*tt));
	struct buf bytes = BUF_INIT(TABLE_FILE_MAX);
	struct source source;
	struct str key, value;
	int err = read_table_file(name, &bytes, &tt->table.file, why);

	if (!err) {
		source_init(&source, name, buf_str(&bytes));
		while (source_next_entry(&source, &tt->arena, &key, &value, why))
			if (!text_add(tt, key, value, flags))
				table_warn(why, name, source.line, "duplicate entry: \"%.*s\"", STR_ARG(key));
		source_done(&source);
	}
	buf_done(&bytes);
	if (err) {
		text_free(tt);
		return err;
	}
	*ret_table = &tt->table;
	return 0;
}

/* "key=value" or "{ key = value with blanks }". */
static bool inline_pair(struct str item, struct str *ret_key, struct str *ret_value)
{
	struct str inside;

	if (item.len > 0 && item.ptr[0] == '{') {
		if (!table_unbrace(item, &inside))
			return false;
		item = inside;
	}
	if (!str_split(item, '=', ret_key, ret_value))
		return false;
	*ret_key = str_trim(*ret_key);
	*ret_value = str_trim(*ret_value);
	return ret_key->len > 0 && ret_value->len > 0;
}

static int inline_open(const struct table_type *type, struct str name, unsigned flags, const struct view *view,
                       struct table **ret_table, struct buf *why)
{
	struct text_table *tt;
	struct str rest, item, key, value;

	if (!table_unbrace(name, &rest) || rest.len == 0) {
		buf_addf(why, "bad syntax: \"inline:%.*s\"; need \"inline:{name=value...}\"", STR_ARG(name));
		return -EINVAL;
	}
	tt = mem_alloc(sizeof(*tt));
	while (str_next_braced(&rest, ", \t\r\n", &item)) {
		if (!inline_pair(item, &key, &value)) {
			buf_addf(why, "inline:%.*s: \"%.*s\" is not of the form name=value or { name = value }", STR_ARG(name),
			         STR_ARG(item));
			text_free(tt);
			return -EINVAL;
		}
		if (!text_add(tt, key, arena_str(&tt->arena, value), flags))
			table_warn(why, STR("inline table"), 0, "duplicate entry: \"%.*s\"", STR_ARG(key));
	}
	*ret_table = &tt->table;
	return 0;
}

static int text_find(struct table *t, struct str key, struct arena *a, struct str *ret_value, struct buf *why)
{
	struct str *entry = map_find(&((struct text_table *)t)->entries, key);

	if (!entry)
		return -ENOENT;
	*ret_value = arena_str(a, *entry);
	return 0;
}

static int text_walk(struct table *t, table_entry_fn *fn, void *arg)
{
	struct text_table *tt = (struct text_table *)t;
	size_t at = 0;
	struct str key;
	void *entry;

	while (map_next(&tt->entries, &at, &key, &entry))
		if (!fn(key, *(struct str *)entry, arg))
			break;
	return 0;
}

const struct table_type table_texthash = {"texthash", true, texthash_open, text_find, text_walk, text_close};
const struct table_type table_inline = {"inline", true, inline_open, text_find, text_walk, text_close};
