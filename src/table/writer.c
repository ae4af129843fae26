/* SPDX-License-Identifier: Apache-2.0 */
/* Writing of LMDB tables: a new file, then a rename. */
#include "table/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/random.h"
#include "table/table_internal.h"

/* Only address space until pages are used; a table larger than this belongs into a data base server. */
static const size_t map_size = (size_t)8 << 30;
enum { KEY_MAX = 511 };

struct table_writer {
	char *final_path;
	char *new_path;
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
};

bool table_is_writable(struct str spec)
{
	return str_starts(spec, STR("hash:")) || str_starts(spec, STR("btree:")) || str_starts(spec, STR("lmdb:"));
}

static void writer_free(struct table_writer *w)
{
	if (w->txn)
		mdb_txn_abort(w->txn);
	if (w->env)
		mdb_env_close(w->env);
	if (w->new_path)
		(void)unlink(w->new_path);
	free(w->new_path);
	free(w->final_path);
	free(w);
}

void table_writer_abort(struct table_writer *w)
{
	if (w)
		writer_free(w);
}

static int copy_file(const char *from, int to, mode_t *ret_mode)
{
	struct stat st;
	char *chunk;
	ssize_t got = 0;
	int err = 0, fd = open(from, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st))
		err = -errno;
	else
		*ret_mode = st.st_mode & 0777;
	chunk = mem_alloc(64 << 10);
	while (!err && (got = read(fd, chunk, 64 << 10)) > 0)
		if (write(to, chunk, (size_t)got) != got)
			err = errno ? -errno : -EIO;
	if (got < 0)
		err = -errno;
	free(chunk);
	close(fd);
	return err;
}

/* The new file beside the old one, empty or a copy, which has the old one's mode: there may be passwords in it. */
static int make_new_file(struct table_writer *w, bool is_fresh, mode_t mode)
{
	int err = 0, fd = open(w->new_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	if (!is_fresh)
		err = copy_file(w->final_path, fd, &mode);
	if (!err && fchmod(fd, mode) != 0)
		err = -errno;
	close(fd);
	return err;
}

static int writer_begin(struct table_writer *w)
{
	int err = mdb_env_create(&w->env);

	if (!err)
		err = mdb_env_set_mapsize(w->env, map_size);
	if (!err)
		err = mdb_env_open(w->env, w->new_path, MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOSYNC, 0600);
	if (!err)
		err = mdb_txn_begin(w->env, NULL, 0, &w->txn);
	if (!err)
		err = mdb_dbi_open(w->txn, NULL, 0, &w->dbi);
	return err;
}

int table_writer_open(struct str spec, bool is_fresh, mode_t mode, struct table_writer **ret_writer, struct buf *why)
{
	struct table_writer *w = mem_alloc(sizeof(*w));
	struct str name = str_from(spec, str_find(spec, ':') + 1);
	struct buf path = BUF_INIT(4096);
	unsigned long long number = 0;
	int err;

	random_bytes(&number, sizeof(number));
	buf_addf(&path, "%.*s.lmdb", STR_ARG(name));
	w->final_path = buf_take(&path);
	buf_addf(&path, "%.*s.lmdb.new.%08llx", STR_ARG(name), number & 0xffffffffu);
	w->new_path = buf_take(&path);
	err = make_new_file(w, is_fresh, mode);
	if (!err) {
		err = writer_begin(w);
		err = err > 0 ? -err : err ? -EINVAL : 0;
	}
	if (err) {
		buf_addf(why, "open %s: %s", err == -ENOENT && !is_fresh ? w->final_path : w->new_path, strerror(-err));
		writer_free(w);
		return err;
	}
	*ret_writer = w;
	return 0;
}

static MDB_val as_val(struct str s)
{
	return (MDB_val){s.len, (void *)(uintptr_t)s.ptr};
}

int table_writer_put(struct table_writer *w, struct str key, struct str value, bool is_replacing, struct buf *why)
{
	MDB_val k = as_val(key), v = as_val(value);
	int err;

	if (key.len == 0 || key.len > KEY_MAX) {
		buf_addf(why, "%s: the key \"%.*s\" is longer than %d bytes", w->final_path, STR_ARG(str_cut(key, 0, 40)),
		         KEY_MAX);
		return -EMSGSIZE;
	}
	err = mdb_put(w->txn, w->dbi, &k, &v, is_replacing ? 0 : MDB_NOOVERWRITE);
	if (err == MDB_KEYEXIST)
		return -EEXIST;
	if (err)
		buf_addf(why, "write %s: %s", w->new_path, mdb_strerror(err));
	return err > 0 ? -err : err ? -EIO : 0;
}

/* The key with or without a final NUL, whichever the file holds. */
static int remove_either(struct table_writer *w, struct str key)
{
	char *with_nul = str_cstr(key);
	MDB_val k = {key.len, with_nul};
	int err = mdb_del(w->txn, w->dbi, &k, NULL);

	if (err == MDB_NOTFOUND) {
		k.mv_size++;
		err = mdb_del(w->txn, w->dbi, &k, NULL);
	}
	free(with_nul);
	return err;
}

int table_writer_remove(struct table_writer *w, struct str key, struct buf *why)
{
	int err;

	if (key.len == 0 || key.len >= KEY_MAX)
		return -ENOENT;
	err = remove_either(w, key);
	if (err == MDB_NOTFOUND)
		return -ENOENT;
	if (err)
		buf_addf(why, "write %s: %s", w->new_path, mdb_strerror(err));
	return err > 0 ? -err : err ? -EIO : 0;
}

static int sync_folder(const char *path)
{
	struct str folder = str_cut(str_of(path), 0, str_find_last(str_of(path), '/'));
	char *name = folder.len == strlen(path) ? mem_strdup(".") : str_cstr(folder.len ? folder : STR("/"));
	int err = 0, fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) != 0)
		err = -errno;
	if (fd >= 0)
		close(fd);
	free(name);
	return err;
}

int table_writer_commit(struct table_writer *w, struct buf *why)
{
	int err = mdb_txn_commit(w->txn);

	w->txn = NULL;
	if (!err)
		err = mdb_env_sync(w->env, 1);
	mdb_env_close(w->env);
	w->env = NULL;
	if (!err && rename(w->new_path, w->final_path) != 0)
		err = errno;
	if (err) {
		buf_addf(why, "write %s: %s", w->final_path, err > 0 ? strerror(err) : mdb_strerror(err));
		writer_free(w);
		return err > 0 ? -err : -EIO;
	}
	free(w->new_path);
	w->new_path = NULL;
	err = sync_folder(w->final_path);
	if (err)
		buf_addf(why, "sync the folder of %s: %s", w->final_path, strerror(-err));
	writer_free(w);
	return err;
}
