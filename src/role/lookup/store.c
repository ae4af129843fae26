/* SPDX-License-Identifier: Apache-2.0 */
/* The LMDB file of the lookup role. */
#include "role/lookup/store.h"

#include <errno.h>
#include <lmdb.h>
#include <unistd.h>

#include "fiber/fiber.h"

enum { KEY_MAX = 511, READERS_MAX = 16, DOMAIN_MAX = 253, MADE_SIZE_MAX = 4 << 20 };

static const size_t map_size = 1UL << 30;
static const char *const table_names[STORE_TABLE_COUNT] = {"sts", "tlsrpt"};

static struct {
	MDB_env *env; /* NULL: not open */
	MDB_dbi tables[STORE_TABLE_COUNT];
} store;

static int error_of(int rc)
{
	if (rc == MDB_NOTFOUND)
		return -ENOENT;
	if (rc == MDB_MAP_FULL)
		return -ENOSPC;
	return rc > 0 ? -rc : rc ? -EIO : 0;
}

static int open_tables(MDB_env *env)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(env, NULL, 0, &txn);

	if (rc)
		return rc;
	for (size_t i = 0; !rc && i < STORE_TABLE_COUNT; i++)
		rc = mdb_dbi_open(txn, table_names[i], MDB_CREATE, &store.tables[i]);
	if (!rc)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return rc;
}

static int open_env(const char *path)
{
	MDB_env *env;
	int dead, rc = mdb_env_create(&env);

	if (rc)
		return rc;
	rc = mdb_env_set_mapsize(env, map_size);
	if (!rc)
		rc = mdb_env_set_maxdbs(env, STORE_TABLE_COUNT);
	if (!rc)
		rc = mdb_env_set_maxreaders(env, READERS_MAX);
	if (!rc)
		rc = mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD, 0600);
	if (!rc)
		rc = mdb_reader_check(env, &dead);
	if (!rc)
		rc = open_tables(env);
	if (rc)
		mdb_env_close(env);
	else
		store.env = env;
	return rc;
}

static bool is_broken(int rc)
{
	return rc == MDB_INVALID || rc == MDB_CORRUPTED || rc == MDB_VERSION_MISMATCH || rc == MDB_PANIC;
}

int store_open(struct str folder, struct buf *why)
{
	struct buf path = BUF_INIT(4096), lock = BUF_INIT(4096);
	int rc;

	buf_addf(&path, "%.*s/lookup.mdb", STR_ARG(folder));
	buf_addf(&lock, "%s-lock", buf_cstr(&path));
	rc = open_env(buf_cstr(&path));
	if (rc)
		buf_addf(why, "%s: %s", buf_cstr(&path), mdb_strerror(rc));
	if (is_broken(rc)) {
		buf_addf(why, "; it is begun anew");
		(void)unlink(buf_cstr(&path));
		(void)unlink(buf_cstr(&lock));
		rc = open_env(buf_cstr(&path));
	}
	buf_done(&path);
	buf_done(&lock);
	return error_of(rc);
}

bool store_is_open(void)
{
	return store.env != NULL;
}

static MDB_val value_of(struct str s)
{
	return (MDB_val){.mv_size = s.len, .mv_data = (void *)s.ptr};
}

static struct str copy(struct arena *a, MDB_val v)
{
	return arena_str(a, str_n(v.mv_data, v.mv_size));
}

bool store_takes_domain(struct str domain)
{
	for (size_t i = 0; i < domain.len; i++)
		if (!ascii_is_alnum(domain.ptr[i]) && !memchr("-._", domain.ptr[i], 3))
			return false;
	return domain.len > 0 && domain.len <= DOMAIN_MAX;
}

int store_get(enum store_table t, struct str key, struct arena *a, struct str *ret_value)
{
	MDB_val k = value_of(key), v;
	MDB_txn *txn;
	int rc = !store.env                      ? EBADF
	         : key.len > KEY_MAX || !key.len ? MDB_NOTFOUND
	                                         : mdb_txn_begin(store.env, NULL, MDB_RDONLY, &txn);

	if (rc)
		return error_of(rc);
	rc = mdb_get(txn, store.tables[t], &k, &v);
	if (!rc)
		*ret_value = copy(a, v);
	mdb_txn_abort(txn);
	return error_of(rc);
}

int store_next(enum store_table t, struct str key, struct arena *a, struct str *ret_key, struct str *ret_value)
{
	MDB_val k = value_of(key), v;
	MDB_cursor *cursor;
	MDB_txn *txn;
	int rc = store.env ? mdb_txn_begin(store.env, NULL, MDB_RDONLY, &txn) : EBADF;

	if (rc)
		return error_of(rc);
	rc = mdb_cursor_open(txn, store.tables[t], &cursor);
	if (!rc) {
		rc = mdb_cursor_get(cursor, &k, &v, key.len ? MDB_SET_RANGE : MDB_FIRST);
		mdb_cursor_close(cursor);
	}
	if (!rc) {
		*ret_key = copy(a, k);
		*ret_value = copy(a, v);
	}
	mdb_txn_abort(txn);
	return error_of(rc);
}

size_t store_count(enum store_table t)
{
	MDB_stat stat = {0};
	MDB_txn *txn;

	if (!store.env || mdb_txn_begin(store.env, NULL, MDB_RDONLY, &txn))
		return 0;
	(void)mdb_stat(txn, store.tables[t], &stat);
	mdb_txn_abort(txn);
	return stat.ms_entries;
}

/* A job for a helper thread: the sync at its end takes its time. */
struct writing {
	const struct store_change *changes;
	size_t count;
	int rc;
};

static int put_made(MDB_txn *txn, const struct store_change *c)
{
	struct buf made = BUF_INIT(MADE_SIZE_MAX);
	MDB_val k = value_of(c->key), v = {0};
	int rc = mdb_get(txn, store.tables[c->table], &k, &v);

	if (!rc || rc == MDB_NOTFOUND) {
		c->make(rc ? STR("") : str_n(v.mv_data, v.mv_size), &made, c->arg);
		v = value_of(buf_str(&made));
		rc = buf_check(&made) ? ENOSPC : mdb_put(txn, store.tables[c->table], &k, &v, 0);
	}
	buf_done(&made);
	return rc;
}

static void write_changes(void *arg)
{
	struct writing *w = arg;
	MDB_txn *txn;

	w->rc = mdb_txn_begin(store.env, NULL, 0, &txn);
	if (w->rc)
		return;
	for (size_t i = 0; !w->rc && i < w->count; i++) {
		const struct store_change *c = &w->changes[i];
		MDB_val k = value_of(c->key), v = value_of(c->value);

		if (c->make)
			w->rc = put_made(txn, c);
		else if (c->value.ptr)
			w->rc = mdb_put(txn, store.tables[c->table], &k, &v, 0);
		else
			w->rc = mdb_del(txn, store.tables[c->table], &k, NULL);
		if (w->rc == MDB_NOTFOUND)
			w->rc = 0;
	}
	if (w->rc)
		mdb_txn_abort(txn);
	else
		w->rc = mdb_txn_commit(txn);
}

int store_write(const struct store_change *changes, size_t count)
{
	struct writing w = {.changes = changes, .count = count};

	if (!store.env)
		return -EBADF;
	for (size_t i = 0; i < count; i++)
		if (!changes[i].key.len || changes[i].key.len > KEY_MAX)
			return -EINVAL;
	(void)!fiber_work(write_changes, &w);
	return error_of(w.rc);
}
