/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Match lists. Neighbouring literals of the same sign form one block, which is one hash
 * table and one set of networks; a table is a block of its own. The first block that
 * knows the name decides.
 */
#include <errno.h>

#include "base/map.h"
#include "table/ip_set.h"
#include "table/read_file.h"
#include "table/source.h"
#include "table/table_internal.h"

enum { NAME_MAX_BYTES = 1024, FILE_DEPTH_MAX = 10 };

struct block {
	bool is_negated;
	struct table *table; /* NULL: literals */
	struct map names;
	struct ip_set *nets;
};

struct match_list {
	enum match_kind kind;
	unsigned flags;
	struct block *blocks;
	size_t count;
	struct file_stamp *files;
	size_t file_count;
	bool may_wait; /* some table may: then questions share nothing */
	bool is_closed;
	size_t users;       /* questions under way */
	struct arena arena; /* of one question */
	char name[NAME_MAX_BYTES];
};

/* Opening: where we are. */
struct opening {
	struct match_list *list;
	const struct view *view;
	struct buf *why;
	unsigned depth;
};

static int add_items(struct opening *o, struct str text, bool is_negated);

static struct block *add_block(struct match_list *l, bool is_negated)
{
	l->blocks = mem_resize(l->blocks, (l->count + 1) * sizeof(*l->blocks));
	l->blocks[l->count] = (struct block){.is_negated = is_negated};
	return &l->blocks[l->count++];
}

/* The last block if it takes literals of this sign, else a new one. */
static struct block *literal_block(struct match_list *l, bool is_negated)
{
	struct block *last = l->count > 0 ? &l->blocks[l->count - 1] : NULL;

	return last && !last->table && last->is_negated == is_negated ? last : add_block(l, is_negated);
}

static int add_table_item(struct opening *o, struct str spec, bool is_negated)
{
	struct table *t;
	int err = table_open(spec, TABLE_FOLD | (o->list->flags & (TABLE_SURROGATE | TABLE_NOW)), o->view, &t, o->why);

	if (!err) {
		add_block(o->list, is_negated)->table = t;
		o->list->may_wait |= t->may_wait;
	}
	return err;
}

static int add_file(struct opening *o, struct str path, bool is_negated)
{
	struct match_list *l = o->list;
	struct buf bytes = BUF_INIT(TABLE_FILE_MAX);
	struct source source;
	struct str line;
	int err;

	if (o->depth == FILE_DEPTH_MAX) {
		buf_addf(o->why, "%.*s: files are nested too deep", STR_ARG(path));
		return -ELOOP;
	}
	l->files = mem_resize(l->files, (l->file_count + 1) * sizeof(*l->files));
	l->files[l->file_count] = (struct file_stamp){0};
	err = read_table_file(path, &bytes, &l->files[l->file_count], o->why);
	l->file_count++;
	source_init(&source, path, buf_str(&bytes));
	o->depth++;
	while (!err && source_next(&source, &line))
		err = add_items(o, line, is_negated);
	o->depth--;
	source_done(&source);
	buf_done(&bytes);
	return err;
}

static int add_literal(struct opening *o, struct str item, bool is_negated)
{
	struct block *b = literal_block(o->list, is_negated);
	struct ip_net net;

	if (o->list->kind == MATCH_ADDRESS && (ascii_is_digit(item.ptr[0]) || item.ptr[0] == '[' || str_has(item, ':'))) {
		int err = ip_net_parse(item, &net, o->why);

		if (err)
			return err;
		if (!b->nets)
			b->nets = ip_set_new();
		ip_set_add(b->nets, &net, 0);
		return 0;
	}
	item = arena_lower(&o->list->arena, item);
	map_set(&b->names, item, b);
	arena_reset(&o->list->arena);
	return 0;
}

static int add_item(struct opening *o, struct str item, bool is_negated)
{
	struct ip_key ip;
	struct str address, prefix;

	while (item.len > 0 && item.ptr[0] == '!') {
		is_negated = !is_negated;
		item = str_trim(str_from(item, 1));
	}
	if (item.len == 0) {
		buf_addf(o->why, "a \"!\" with nothing behind it");
		return -EINVAL;
	}
	if (item.ptr[0] == '/')
		return add_file(o, item, is_negated);
	if (item.ptr[0] == '[' || !str_has(item, ':'))
		return add_literal(o, item, is_negated);
	/* IPv6 without the brackets it should have; a table type is never a number. */
	if (!str_split(item, '/', &address, &prefix))
		address = item;
	if (o->list->kind == MATCH_ADDRESS && ip_key_parse(address, &ip))
		return add_literal(o, item, is_negated);
	return add_table_item(o, item, is_negated);
}

static int add_items(struct opening *o, struct str text, bool is_negated)
{
	struct str item;
	int err = 0;

	while (!err && str_next_braced(&text, ", \t\r\n", &item))
		err = add_item(o, item, is_negated);
	return err;
}

int match_list_open(struct str text, enum match_kind kind, unsigned flags, const struct view *view, struct match_list **ret_list,
                    struct buf *why)
{
	struct match_list *l = mem_alloc(sizeof(*l));
	struct opening o = {.list = l, .view = view, .why = why};
	int err;

	l->kind = kind;
	l->flags = flags;
	err = add_items(&o, text, false);
	if (err) {
		match_list_close(l);
		return err;
	}
	for (size_t i = 0; i < l->count; i++)
		if (l->blocks[i].nets)
			ip_set_build(l->blocks[i].nets);
	*ret_list = l;
	return 0;
}

void match_list_close(struct match_list *l)
{
	if (!l)
		return;
	/* The last question that waits in a table closes it. */
	l->is_closed = true;
	if (l->users)
		return;
	for (size_t i = 0; i < l->count; i++) {
		table_close(l->blocks[i].table);
		map_done(&l->blocks[i].names);
		ip_set_free(l->blocks[i].nets);
	}
	for (size_t i = 0; i < l->file_count; i++)
		file_stamp_done(&l->files[i]);
	free(l->files);
	free(l->blocks);
	arena_done(&l->arena);
	free(l);
}

/* The part behind the first dot, with or without the dot; empty when there is none. */
static struct str parent_of(struct str name, bool keeps_dot)
{
	size_t dot = str_find(str_from(name, 1), '.') + 1;

	return str_from(name, keeps_dot ? dot : dot + 1);
}

static int ask_table(const struct match_list *l, struct table *t, struct str name, struct arena *a, struct buf *why)
{
	bool has_parents = l->kind == MATCH_DOMAIN && table_is_fixed_key(t);
	struct str value;

	while (name.len > 0) {
		int err = table_find(t, name, a, &value, why);

		if (err != -ENOENT)
			return err ? err : 1;
		if (!has_parents)
			break;
		name = parent_of(name, !(l->flags & MATCH_PARENTS));
	}
	return 0;
}

static bool ask_names(const struct match_list *l, const struct block *b, struct str name)
{
	if (map_find(&b->names, name))
		return true;
	if (l->kind != MATCH_DOMAIN && l->kind != MATCH_ADDRESS)
		return false;
	while ((name = parent_of(name, true)).len > 1)
		if (map_find(&b->names, name) || ((l->flags & MATCH_PARENTS) && map_find(&b->names, str_from(name, 1))))
			return true;
	return false;
}

/* 1, 0, or an error. */
static int check_blocks(struct match_list *l, struct str name, struct arena *a, struct buf *why)
{
	struct ip_key ip;
	bool is_ip = l->kind == MATCH_ADDRESS && ip_key_parse(name, &ip);

	for (size_t i = 0; i < l->count; i++) {
		struct block *b = &l->blocks[i];
		int result;

		if (b->table) {
			result = ask_table(l, b->table, name, a, why);
			if (!l->may_wait)
				arena_reset(a);
		} else if (is_ip) {
			result = b->nets && ip_set_find(b->nets, &ip) >= 0;
		} else {
			result = map_count(&b->names) > 0 && ask_names(l, b, name);
		}
		if (result < 0)
			return result;
		if (result)
			return !b->is_negated;
	}
	return 0;
}

int match_list_check(struct match_list *l, struct str name, struct buf *why)
{
	struct arena own = ARENA_INIT;
	int result;

	if (name.len == 0 || name.len > sizeof(l->name) || l->count == 0)
		return 0;
	if (l->may_wait) {
		l->users++;
		result = check_blocks(l, arena_lower(&own, name), &own, why);
		if (--l->users == 0 && l->is_closed)
			match_list_close(l);
		arena_done(&own);
		return result;
	}
	for (size_t i = 0; i < name.len; i++)
		l->name[i] = ascii_lower(name.ptr[i]);
	return check_blocks(l, str_n(l->name, name.len), &l->arena, why);
}

bool match_list_has_changed(const struct match_list *l)
{
	if (!l)
		return false;
	for (size_t i = 0; i < l->count; i++)
		if (l->blocks[i].table && table_has_changed(l->blocks[i].table))
			return true;
	for (size_t i = 0; i < l->file_count; i++)
		if (file_stamp_has_changed(&l->files[i]))
			return true;
	return false;
}
