/* SPDX-License-Identifier: Apache-2.0 */
/* Tables by name: opening, the common part of every type, folding of keys. */
#include "table/table.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "table/table_internal.h"

static const struct table_type *const table_types[] = {
	&table_lmdb,    &table_hash,     &table_btree,   &table_texthash, &table_inline,    &table_static, &table_environ,
	&table_fail,    &table_unix,     &table_cidr,    &table_regexp,   &table_pcre,      &table_proxy,  &table_debug,
	&table_pipemap, &table_unionmap, &table_randmap, &table_nis,      &table_socketmap, &table_tcp,
};

/* Types that Postfix has and we know by name, so that the message can say more than "unknown". */
static const char *const later_types[] = {
	"mysql", "pgsql", "sqlite", "ldap", "mongodb", "memcache", "nisplus", "netinfo", "cdb", "dbm", "sdbm", "internal",
};

static const struct table_type *find_type(struct str name)
{
	for (size_t i = 0; i < COUNT_OF(table_types); i++)
		if (str_eq(name, str_of(table_types[i]->name)))
			return table_types[i];
	return NULL;
}

bool table_type_name(size_t at, struct str *ret_name)
{
	if (at >= COUNT_OF(table_types))
		return false;
	*ret_name = str_of(table_types[at]->name);
	return true;
}

static int refuse_type(struct str type, struct str spec, struct buf *why)
{
	for (size_t i = 0; i < COUNT_OF(later_types); i++) {
		if (!str_eq(type, str_of(later_types[i])))
			continue;
		buf_addf(why, "table %.*s: tables of type %.*s are not supported yet; use lmdb:, texthash:, pcre: or cidr:",
		         STR_ARG(spec), STR_ARG(type));
		return -ENOTSUP;
	}
	buf_addf(why, "table %.*s: unknown table type \"%.*s\"", STR_ARG(spec), STR_ARG(type));
	return -ENOTSUP;
}

static int refuse_waiting(struct table *t, struct buf *why)
{
	buf_addf(why,
	         "table %s: queue manager and local delivery cannot wait for another program, so mail would wait until this is "
	         "mended: name a table in a file here (hash:, texthash:, pcre:, ...), and have it written from the same data",
	         t->spec);
	table_close(t);
	return -ENOTSUP;
}

static int open_spec(struct str spec, unsigned flags, const struct view *view, struct table **ret_table, struct buf *why)
{
	const struct table_type *type;
	struct str type_name, name;
	struct table *t;
	int err;

	if (!str_split(spec, ':', &type_name, &name) || type_name.len == 0 || name.len == 0) {
		buf_addf(why, "table \"%.*s\": expected the form type:name, as in hash:/etc/postfix/virtual", STR_ARG(spec));
		return -EINVAL;
	}
	type = find_type(type_name);
	if (!type)
		return refuse_type(type_name, spec, why);
	err = type->open(type, name, flags, view, &t, why);
	if (err)
		return err;
	t->type = type;
	t->spec = str_cstr(spec);
	t->flags = flags;
	if (t->child_count == 0)
		t->is_fixed_key = type->is_fixed_key;
	if (flags & TABLE_NOW && t->may_wait)
		return refuse_waiting(t, why);
	*ret_table = t;
	return 0;
}

int table_open(struct str spec, unsigned flags, const struct view *view, struct table **ret_table, struct buf *why)
{
	size_t before = why->len;
	int err = open_spec(spec, flags, view, ret_table, why);

	if (!err || err == -EINVAL || !(flags & TABLE_SURROGATE))
		return err;
	*ret_table = table_surrogate_new(str_from(buf_str(why), before));
	(*ret_table)->spec = str_cstr(spec);
	(*ret_table)->flags = flags;
	return 0;
}

void table_close(struct table *t)
{
	if (!t)
		return;
	if (t->type->close)
		t->type->close(t);
	for (size_t i = 0; i < t->child_count; i++)
		table_close(t->children[i]);
	free(t->children);
	file_stamp_done(&t->file);
	free(t->spec);
	free(t);
}

int table_find(struct table *t, struct str key, struct arena *a, struct str *ret_value, struct buf *why)
{
	if (key.len == 0)
		return -ENOENT;
	if (t->type->is_fixed_key && (t->flags & TABLE_FOLD) && t->child_count == 0) {
		for (size_t i = 0; i < key.len; i++) {
			if (key.ptr[i] < 'A' || key.ptr[i] > 'Z')
				continue;
			key = arena_lower(a, key);
			break;
		}
	}
	return t->type->find(t, key, a, ret_value, why);
}

bool table_is_fixed_key(const struct table *t)
{
	return t->is_fixed_key;
}

struct str table_spec(const struct table *t)
{
	return str_of(t->spec);
}

bool table_has_changed(const struct table *t)
{
	for (size_t i = 0; i < t->child_count; i++)
		if (table_has_changed(t->children[i]))
			return true;
	return file_stamp_has_changed(&t->file);
}

static bool path_at(const struct table *t, size_t *at, struct str *ret_path)
{
	if (t->file.path && (*at)-- == 0) {
		*ret_path = str_of(t->file.path);
		return true;
	}
	for (size_t i = 0; i < t->child_count; i++)
		if (path_at(t->children[i], at, ret_path))
			return true;
	return false;
}

bool table_path(const struct table *t, size_t at, struct str *ret_path)
{
	return path_at(t, &at, ret_path);
}

int table_walk(struct table *t, table_entry_fn *fn, void *arg)
{
	return t->type->walk ? t->type->walk(t, fn, arg) : -ENOTSUP;
}

void file_stamp_set(struct file_stamp *s, struct str path, int fd)
{
	struct stat st;

	file_stamp_done(s);
	s->path = str_cstr(path);
	if (fstat(fd, &st) != 0)
		return;
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	s->size = st.st_size;
	s->mtime = st.st_mtim;
}

/* A file that vanished is being replaced, or gone for a while: the old content stays good. */
bool file_stamp_has_changed(const struct file_stamp *s)
{
	struct stat st;

	if (!s->path || stat(s->path, &st) != 0)
		return false;
	return st.st_dev != s->dev || st.st_ino != s->ino || st.st_size != s->size || st.st_mtim.tv_sec != s->mtime.tv_sec ||
	       st.st_mtim.tv_nsec != s->mtime.tv_nsec;
}

void file_stamp_done(struct file_stamp *s)
{
	free(s->path);
	*s = (struct file_stamp){0};
}

bool table_unbrace(struct str text, struct str *ret_inside)
{
	text = str_trim(text);
	if (text.len < 2 || text.ptr[0] != '{' || text.ptr[text.len - 1] != '}')
		return false;
	*ret_inside = str_trim(str_cut(text, 1, text.len - 2));
	return true;
}

void table_warn(struct buf *why, struct str what, unsigned line, const char *fmt, ...)
{
	va_list args;

	if (why->len > 0)
		buf_add_char(why, '\n');
	if (line > 0)
		buf_addf(why, "%.*s, line %u: ", STR_ARG(what), line);
	else
		buf_addf(why, "%.*s: ", STR_ARG(what));
	va_start(args, fmt);
	buf_vaddf(why, fmt, args);
	va_end(args);
}
