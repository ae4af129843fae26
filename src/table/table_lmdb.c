/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lmdb, and what configurations call hash and btree: an LMDB file NAME.lmdb beside the
 * source NAME. Keys and values may or may not end in a NUL, as Postfix's tools write
 * both; lookups try both.
 *
 * Our own tools always replace the file, so no lock is needed to read it; of a file that
 * another program changes in place, each lookup sees the last finished state.
 */
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <sys/stat.h>
#include <unistd.h>

#include "table/table_internal.h"

enum { KEY_MAX = 511 }; /* LMDB's own limit */

struct lmdb_table {
	struct table table;
	MDB_env *env;
	MDB_dbi dbi;
	MDB_txn *txn; /* reset between lookups */
	char key[KEY_MAX + 1];
};

static void lmdb_close(struct table *t)
{
	struct lmdb_table *lt = (struct lmdb_table *)t;

	if (lt->txn)
		mdb_txn_abort(lt->txn);
	if (lt->env)
		mdb_env_close(lt->env);
}

static const char *maker(struct str source)
{
	struct str base = str_from(source, str_find_last(source, '/') == source.len ? 0 : str_find_last(source, '/') + 1);

	return str_eq(base, STR("aliases")) || str_ends(base, STR("aliases")) || str_starts(base, STR("aliases")) ? "postalias"
	                                                                                                          : "postmap";
}

static int explain_open(const struct table_type *type, struct str name, int err, struct buf *why)
{
	if (err == ENOENT)
		buf_addf(why, "table %s:%.*s: there is no %.*s.lmdb; run: %s %s:%.*s", type->name, STR_ARG(name), STR_ARG(name),
		         maker(name), type->name, STR_ARG(name));
	else if (err == MDB_INVALID || err == MDB_VERSION_MISMATCH)
		buf_addf(why, "table %s:%.*s: %.*s.lmdb is not an LMDB file; run: %s %s:%.*s", type->name, STR_ARG(name),
		         STR_ARG(name), maker(name), type->name, STR_ARG(name));
	else
		buf_addf(why, "table %s:%.*s: open %.*s.lmdb: %s", type->name, STR_ARG(name), STR_ARG(name), mdb_strerror(err));
	return err > 0 ? -err : -EINVAL;
}

/* A source newer than the file is a warning: someone edits it, or forgot the command. */
static void warn_if_stale(const struct table_type *type, struct str name, const struct file_stamp *file, struct buf *why)
{
	char *source = str_cstr(name);
	struct stat st;

	if (stat(source, &st) == 0 && (st.st_mtim.tv_sec > file->mtime.tv_sec ||
	                               (st.st_mtim.tv_sec == file->mtime.tv_sec && st.st_mtim.tv_nsec > file->mtime.tv_nsec)))
		table_warn(why, str_of(file->path), 0, "older than its source %s; run: %s %s:%s", source, maker(name), type->name,
		           source);
	free(source);
}

static int lmdb_begin(struct lmdb_table *lt, const char *path)
{
	int err = mdb_env_create(&lt->env);

	if (!err)
		err = mdb_env_open(lt->env, path, MDB_NOSUBDIR | MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS, 0);
	if (!err)
		err = mdb_txn_begin(lt->env, NULL, MDB_RDONLY, &lt->txn);
	if (!err)
		err = mdb_dbi_open(lt->txn, NULL, 0, &lt->dbi);
	if (!err)
		mdb_txn_reset(lt->txn);
	return err;
}

static int lmdb_open(const struct table_type *type, struct str name, unsigned flags, const struct view *view,
                     struct table **ret_table, struct buf *why)
{
	struct lmdb_table *lt = mem_alloc(sizeof(*lt));
	struct buf path = BUF_INIT(4096);
	int fd, err = 0;

	buf_addf(&path, "%.*s.lmdb", STR_ARG(name));
	fd = open(buf_cstr(&path), O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		err = errno;
	} else {
		file_stamp_set(&lt->table.file, buf_str(&path), fd);
		close(fd);
		/* An empty file is no data base yet, and LMDB would say ENOENT. */
		err = lt->table.file.size == 0 ? MDB_INVALID : lmdb_begin(lt, buf_cstr(&path));
	}
	buf_done(&path);
	if (err) {
		err = explain_open(type, name, err, why);
		lmdb_close(&lt->table);
		file_stamp_done(&lt->table.file);
		free(lt);
		return err;
	}
	warn_if_stale(type, name, &lt->table.file, why);
	*ret_table = &lt->table;
	return 0;
}

static int lmdb_renew(struct lmdb_table *lt)
{
	int err = mdb_txn_renew(lt->txn);

	if (err != MDB_MAP_RESIZED)
		return err;
	err = mdb_env_set_mapsize(lt->env, 0);
	return err ? err : mdb_txn_renew(lt->txn);
}

static struct str value_text(const MDB_val *v)
{
	struct str s = str_n(v->mv_data, v->mv_size);

	if (s.len > 0 && s.ptr[s.len - 1] == '\0')
		s.len--;
	return s;
}

static int lmdb_find(struct table *t, struct str key, struct arena *a, struct str *ret_value, struct buf *why)
{
	struct lmdb_table *lt = (struct lmdb_table *)t;
	MDB_val k, v;
	int err;

	if (key.len > KEY_MAX)
		return -ENOENT;
	err = lmdb_renew(lt);
	if (!err) {
		memcpy(lt->key, key.ptr, key.len);
		lt->key[key.len] = '\0';
		k = (MDB_val){key.len, lt->key};
		err = mdb_get(lt->txn, lt->dbi, &k, &v);
		if (err == MDB_NOTFOUND && key.len < KEY_MAX) {
			k = (MDB_val){key.len + 1, lt->key};
			err = mdb_get(lt->txn, lt->dbi, &k, &v);
		}
		if (!err)
			*ret_value = arena_str(a, value_text(&v));
		mdb_txn_reset(lt->txn);
	}
	if (err == MDB_NOTFOUND)
		return -ENOENT;
	if (err)
		buf_addf(why, "table %s: %s", t->spec, mdb_strerror(err));
	return err ? -EIO : 0;
}

static int lmdb_walk(struct table *t, table_entry_fn *fn, void *arg)
{
	struct lmdb_table *lt = (struct lmdb_table *)t;
	MDB_cursor *cursor;
	MDB_val k, v;
	int err = lmdb_renew(lt);

	if (err)
		return -EIO;
	err = mdb_cursor_open(lt->txn, lt->dbi, &cursor);
	if (!err) {
		while ((err = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0)
			if (!fn(value_text(&k), value_text(&v), arg))
				break;
		mdb_cursor_close(cursor);
	}
	mdb_txn_reset(lt->txn);
	return err == 0 || err == MDB_NOTFOUND ? 0 : -EIO;
}

const struct table_type table_lmdb = {"lmdb", true, lmdb_open, lmdb_find, lmdb_walk, lmdb_close};
const struct table_type table_hash = {"hash", true, lmdb_open, lmdb_find, lmdb_walk, lmdb_close};
const struct table_type table_btree = {"btree", true, lmdb_open, lmdb_find, lmdb_walk, lmdb_close};
