/* SPDX-License-Identifier: Apache-2.0 */
/* The index in LMDB; its tables stand in index.h. */
#include "spool/index.h"

#include <errno.h>
#include <lmdb.h>

enum table { MESSAGES, DUE, HELD, REFS, SEGMENTS, LARGE, TABLE_COUNT };

static const char *const table_names[TABLE_COUNT] = {"messages", "due", "held", "refs", "segments", "large"};

/* Address space, not disk: the file grows as it is needed. */
static const size_t map_size = (size_t)64 << 30;

enum { READERS_MAX = 64, KEY_MAX = 64, SEGMENT_ROW_SIZE = 21 };

struct index {
	MDB_env *env;
	MDB_dbi tables[TABLE_COUNT];
};

struct index_txn {
	struct index *ix;
	MDB_txn *txn;
};

struct key {
	size_t len;
	char bytes[KEY_MAX];
};

static int error_of(int rc)
{
	if (rc == MDB_SUCCESS)
		return 0;
	if (rc == MDB_NOTFOUND)
		return -ENOENT;
	if (rc == MDB_MAP_FULL || rc == MDB_TXN_FULL)
		return -ENOSPC;
	return rc > 0 ? -rc : -EIO;
}

static void key_add_number(struct key *k, uint64_t value, int bytes)
{
	for (int i = bytes - 1; i >= 0; i--)
		k->bytes[k->len++] = (char)(value >> (8 * i));
}

static void key_add_str(struct key *k, struct str s)
{
	size_t len = size_min(s.len, KEY_MAX - k->len);

	if (len)
		memcpy(k->bytes + k->len, s.ptr, len);
	k->len += len;
}

static uint64_t read_number(const char *from, int bytes)
{
	uint64_t value = 0;

	for (int i = 0; i < bytes; i++)
		value = value << 8 | (unsigned char)from[i];
	return value;
}

static MDB_val val_of(struct str s)
{
	return (MDB_val){.mv_size = s.len, .mv_data = (char *)(uintptr_t)s.ptr};
}

static MDB_val val_of_key(struct key *k)
{
	return (MDB_val){.mv_size = k->len, .mv_data = k->bytes};
}

static struct str str_of_val(MDB_val v)
{
	return str_n(v.mv_data, v.mv_size);
}

static int open_tables(struct index *ix)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(ix->env, NULL, 0, &txn);

	if (rc)
		return rc;
	for (int i = 0; !rc && i < TABLE_COUNT; i++)
		rc = mdb_dbi_open(txn, table_names[i], MDB_CREATE, &ix->tables[i]);
	if (rc) {
		mdb_txn_abort(txn);
		return rc;
	}
	return mdb_txn_commit(txn);
}

/* No segment has number 0: its row says that the index has what segments marked as indexed. */
static bool is_complete(struct index *ix)
{
	struct index_segment s;
	struct index_txn *txn;
	bool is_there;

	if (index_begin(ix, false, &txn))
		return false;
	is_there = !index_get_segment(txn, 0, &s);
	index_abort(txn);
	return is_there;
}

int index_open(const char *folder, struct buf *why, struct index **ret_index, bool *ret_is_new)
{
	struct index *ix = mem_alloc(sizeof *ix);
	int dead, rc = mdb_env_create(&ix->env);

	if (!rc)
		rc = mdb_env_set_mapsize(ix->env, map_size);
	if (!rc)
		rc = mdb_env_set_maxdbs(ix->env, TABLE_COUNT);
	if (!rc)
		rc = mdb_env_set_maxreaders(ix->env, READERS_MAX);
	if (!rc)
		rc = mdb_env_open(ix->env, folder, MDB_NOTLS | MDB_NORDAHEAD | MDB_NOMEMINIT, 0600);
	if (!rc)
		rc = mdb_reader_check(ix->env, &dead);
	if (!rc)
		rc = open_tables(ix);
	if (rc) {
		buf_addf(why, "cannot open the queue's index %s: %s", folder, mdb_strerror(rc));
		index_close(ix);
		return error_of(rc);
	}
	*ret_index = ix;
	*ret_is_new = !is_complete(ix);
	return 0;
}

void index_close(struct index *ix)
{
	if (!ix)
		return;
	if (ix->env)
		mdb_env_close(ix->env);
	free(ix);
}

int index_begin(struct index *ix, bool may_write, struct index_txn **ret_txn)
{
	MDB_txn *raw;
	int rc = mdb_txn_begin(ix->env, NULL, may_write ? 0 : MDB_RDONLY, &raw);

	if (rc)
		return error_of(rc);
	*ret_txn = mem_alloc(sizeof **ret_txn);
	**ret_txn = (struct index_txn){.ix = ix, .txn = raw};
	return 0;
}

int index_commit(struct index_txn *txn)
{
	int rc = mdb_txn_commit(txn->txn);

	free(txn);
	return error_of(rc);
}

void index_abort(struct index_txn *txn)
{
	if (!txn)
		return;
	mdb_txn_abort(txn->txn);
	free(txn);
}

/* --- one entry of one table ------------------------------------------------------ */

static int entry_get(struct index_txn *txn, enum table t, MDB_val key, MDB_val *ret_value)
{
	return error_of(mdb_get(txn->txn, txn->ix->tables[t], &key, ret_value));
}

static int entry_put(struct index_txn *txn, enum table t, MDB_val key, MDB_val value)
{
	return error_of(mdb_put(txn->txn, txn->ix->tables[t], &key, &value, 0));
}

static int entry_delete(struct index_txn *txn, enum table t, MDB_val key)
{
	int err = error_of(mdb_del(txn->txn, txn->ix->tables[t], &key, NULL));

	return err == -ENOENT ? 0 : err;
}

/* The first entry whose key is not less than *key. */
static int entry_seek(struct index_txn *txn, enum table t, MDB_val *key, MDB_val *ret_value)
{
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(txn->txn, txn->ix->tables[t], &cursor);

	if (!rc) {
		rc = mdb_cursor_get(cursor, key, ret_value, MDB_SET_RANGE);
		mdb_cursor_close(cursor);
	}
	return error_of(rc);
}

static int entry_last(struct index_txn *txn, enum table t, MDB_val *ret_key)
{
	MDB_cursor *cursor;
	MDB_val value;
	int rc = mdb_cursor_open(txn->txn, txn->ix->tables[t], &cursor);

	if (!rc) {
		rc = mdb_cursor_get(cursor, ret_key, &value, MDB_LAST);
		mdb_cursor_close(cursor);
	}
	return error_of(rc);
}

/* --- segments -------------------------------------------------------------------- */

static struct key segment_key(uint32_t segment)
{
	struct key k = {0};

	key_add_number(&k, segment, 4);
	return k;
}

int index_get_segment(struct index_txn *txn, uint32_t segment, struct index_segment *ret_segment)
{
	struct key k = segment_key(segment);
	MDB_val value;
	int err = entry_get(txn, SEGMENTS, val_of_key(&k), &value);

	if (err)
		return err;

	struct cursor c = {.rest = str_of_val(value)};
	struct index_segment s = {0};

	s.epoch = cursor_u32(&c);
	s.is_settled = cursor_u8(&c);
	s.count = cursor_u64(&c);
	s.bytes = cursor_u64(&c);
	if (c.is_bad)
		return -EIO;
	*ret_segment = s;
	return 0;
}

static int put_segment(struct index_txn *txn, uint32_t segment, const struct index_segment *s)
{
	struct key k = segment_key(segment);
	char bytes[SEGMENT_ROW_SIZE];

	for (int i = 0; i < 4; i++)
		bytes[i] = (char)(s->epoch >> (8 * i));
	bytes[4] = s->is_settled;
	for (int i = 0; i < 8; i++) {
		bytes[5 + i] = (char)(s->count >> (8 * i));
		bytes[13 + i] = (char)(s->bytes >> (8 * i));
	}
	return entry_put(txn, SEGMENTS, val_of_key(&k), val_of(str_n(bytes, sizeof bytes)));
}

/* One reference more (sign 1) or less (-1). */
static int count_ref(struct index_txn *txn, struct record_ref ref, uint64_t size, int sign)
{
	struct index_segment s;
	int err = index_get_segment(txn, ref.segment, &s);

	if (err && err != -ENOENT)
		return err;
	if (err || s.epoch != ref.epoch)
		s = (struct index_segment){.epoch = ref.epoch};
	if (sign < 0 && !s.count)
		return 0;
	s.count += sign < 0 ? (uint64_t)-1 : 1;
	s.bytes = sign < 0 ? s.bytes - (size < s.bytes ? size : s.bytes) : s.bytes + size;
	return put_segment(txn, ref.segment, &s);
}

int index_settle(struct index_txn *txn, uint32_t segment, uint32_t epoch)
{
	struct index_segment s;
	int err = index_get_segment(txn, segment, &s);

	if (err && err != -ENOENT)
		return err;
	if (err || s.epoch != epoch)
		s = (struct index_segment){.epoch = epoch};
	s.is_settled = true;
	return put_segment(txn, segment, &s);
}

/* --- what hangs on a row ----------------------------------------------------------- */

static struct key due_key(struct wall_time at, struct str id)
{
	struct key k = {0};

	key_add_number(&k, (uint64_t)at.us, 8);
	key_add_str(&k, id);
	return k;
}

static struct key ref_key(uint32_t segment, uint64_t at)
{
	struct key k = {0};

	key_add_number(&k, segment, 4);
	key_add_number(&k, at, 8);
	return k;
}

static struct key large_key(uint64_t number)
{
	struct key k = {0};

	key_add_number(&k, number, 8);
	return k;
}

static int add_schedule(struct index_txn *txn, struct str id, const struct row_head *head)
{
	struct key due = due_key(head->next_attempt, id);
	char deferred_at[8];

	if (head->flags & SPOOL_HELD)
		return entry_put(txn, HELD, val_of(id), val_of(STR("")));
	for (int i = 0; i < 8; i++)
		deferred_at[i] = (char)((uint64_t)head->deferred_at.us >> (8 * (7 - i)));
	return entry_put(txn, DUE, val_of_key(&due), val_of(str_n(deferred_at, sizeof deferred_at)));
}

static int remove_schedule(struct index_txn *txn, struct str id, const struct row_head *head)
{
	struct key due = due_key(head->next_attempt, id);

	if (head->flags & SPOOL_HELD)
		return entry_delete(txn, HELD, val_of(id));
	return entry_delete(txn, DUE, val_of_key(&due));
}

static int add_ref(struct index_txn *txn, struct str id, const struct row_head *head)
{
	struct key k = ref_key(head->ref.segment, head->ref.at);
	int err = entry_put(txn, REFS, val_of_key(&k), val_of(id));

	return err ? err : count_ref(txn, head->ref, head->size, 1);
}

static int remove_ref(struct index_txn *txn, const struct row_head *head)
{
	struct key k = ref_key(head->ref.segment, head->ref.at);
	int err = entry_delete(txn, REFS, val_of_key(&k));

	return err ? err : count_ref(txn, head->ref, head->size, -1);
}

/* --- rows ------------------------------------------------------------------------ */

int index_get(struct index_txn *txn, struct str id, struct str *ret_row)
{
	MDB_val value;
	int err = str_is_empty(id) || id.len >= QUEUE_ID_SIZE ? -ENOENT : entry_get(txn, MESSAGES, val_of(id), &value);

	if (!err)
		*ret_row = str_of_val(value);
	return err;
}

static int get_head(struct index_txn *txn, struct str id, struct row_head *ret_head)
{
	struct str row;
	int err = index_get(txn, id, &row);

	if (!err)
		err = row_head_decode(row, ret_head);
	return err == -EBADMSG ? -EIO : err;
}

static bool is_same_ref(struct record_ref a, struct record_ref b)
{
	return a.segment == b.segment && a.epoch == b.epoch && a.at == b.at;
}

int index_put(struct index_txn *txn, struct str id, const struct row_head *head, struct str row)
{
	struct key large = large_key(head->large);
	struct row_head old;
	int err = get_head(txn, id, &old);

	if (err && err != -ENOENT)
		return err;
	if (!err && !is_same_ref(old.ref, head->ref))
		return -EEXIST;
	if (!err)
		err = remove_schedule(txn, id, &old);
	else
		err = add_ref(txn, id, head);
	if (!err)
		err = add_schedule(txn, id, head);
	if (!err && head->large)
		err = entry_put(txn, LARGE, val_of_key(&large), val_of(id));
	return err ? err : entry_put(txn, MESSAGES, val_of(id), val_of(row));
}

int index_delete(struct index_txn *txn, struct str id, struct row_head *ret_head)
{
	struct row_head head;
	int err = get_head(txn, id, &head);

	if (err)
		return err;

	struct key large = large_key(head.large);

	err = remove_schedule(txn, id, &head);
	if (!err)
		err = remove_ref(txn, &head);
	if (!err && head.large)
		err = entry_delete(txn, LARGE, val_of_key(&large));
	if (!err)
		err = entry_delete(txn, MESSAGES, val_of(id));
	if (!err)
		*ret_head = head;
	return err;
}

/* Writes another head in front of a row. */
static int replace_head(struct index_txn *txn, struct str id, const struct row_head *head)
{
	struct buf row = BUF_INIT(ROW_SIZE_MAX);
	struct str old;
	int err = index_get(txn, id, &old);

	if (!err) {
		row_head_encode(&row, head);
		buf_add(&row, str_from(old, ROW_HEAD_SIZE));
		err = buf_check(&row);
	}
	if (!err)
		err = entry_put(txn, MESSAGES, val_of(id), val_of(buf_str(&row)));
	buf_done(&row);
	return err;
}

int index_patch(struct index_txn *txn, struct str id, const struct row_head *head)
{
	struct row_head old;
	int err = get_head(txn, id, &old);

	if (!err)
		err = remove_schedule(txn, id, &old);
	if (!err)
		err = add_schedule(txn, id, head);
	return err ? err : replace_head(txn, id, head);
}

int index_move(struct index_txn *txn, struct str id, struct record_ref from, struct record_ref to)
{
	struct row_head head;
	int err = get_head(txn, id, &head);

	if (err)
		return err;
	if (!is_same_ref(head.ref, from))
		return -ENOENT;
	err = remove_ref(txn, &head);
	if (!head.large)
		head.content_at = to.at + (head.content_at - head.ref.at);
	head.ref = to;
	if (!err)
		err = add_ref(txn, id, &head);
	return err ? err : replace_head(txn, id, &head);
}

int index_next(struct index_txn *txn, struct str after, struct str *ret_id, struct str *ret_row)
{
	struct key from = {0};
	MDB_val key, value;

	key_add_str(&from, after);
	key_add_number(&from, 0, 1); /* the least key behind `after` */
	key = val_of_key(&from);

	int err = entry_seek(txn, MESSAGES, &key, &value);

	if (err)
		return err;
	*ret_id = str_of_val(key);
	*ret_row = str_of_val(value);
	return 0;
}

int index_due_next(struct index_txn *txn, struct index_due *due)
{
	struct key from = due_key(due->at, str_of(due->id));
	MDB_val key, value;

	key_add_number(&from, 0, 1);
	key = val_of_key(&from);

	int err = entry_seek(txn, DUE, &key, &value);

	if (err)
		return err;
	if (key.mv_size < 8 || key.mv_size - 8 >= QUEUE_ID_SIZE || value.mv_size != 8)
		return -EIO;
	*due = (struct index_due){.at = {(int64_t)read_number(key.mv_data, 8)},
	                          .deferred_at = {(int64_t)read_number(value.mv_data, 8)}};
	memcpy(due->id, (char *)key.mv_data + 8, key.mv_size - 8);
	return 0;
}

int index_ref_next(struct index_txn *txn, uint32_t segment, uint64_t *at, char ret_id[QUEUE_ID_SIZE])
{
	struct key from = ref_key(segment, *at);
	MDB_val key = val_of_key(&from), value;
	int err = entry_seek(txn, REFS, &key, &value);

	if (err)
		return err;
	if (key.mv_size != 12 || value.mv_size >= QUEUE_ID_SIZE)
		return -EIO;
	if (read_number(key.mv_data, 4) != segment)
		return -ENOENT;
	*at = read_number((char *)key.mv_data + 4, 8);
	memset(ret_id, 0, QUEUE_ID_SIZE);
	memcpy(ret_id, value.mv_data, value.mv_size);
	return 0;
}

bool index_has_large(struct index_txn *txn, uint64_t number)
{
	struct key k = large_key(number);
	MDB_val value;

	return !entry_get(txn, LARGE, val_of_key(&k), &value);
}

int index_last_numbers(struct index_txn *txn, uint32_t *ret_segment, uint64_t *ret_large)
{
	MDB_val key;
	int err = entry_last(txn, SEGMENTS, &key);

	if (err && err != -ENOENT)
		return err;
	*ret_segment = err ? 0 : (uint32_t)read_number(key.mv_data, 4);
	err = entry_last(txn, LARGE, &key);
	if (err && err != -ENOENT)
		return err;
	*ret_large = err ? 0 : read_number(key.mv_data, 8);
	return 0;
}

int index_count(struct index_txn *txn, uint64_t *ret_messages, uint64_t *ret_held)
{
	MDB_stat messages, held;
	int rc = mdb_stat(txn->txn, txn->ix->tables[MESSAGES], &messages);

	if (!rc)
		rc = mdb_stat(txn->txn, txn->ix->tables[HELD], &held);
	if (rc)
		return error_of(rc);
	*ret_messages = messages.ms_entries;
	*ret_held = held.ms_entries;
	return 0;
}
