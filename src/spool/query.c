/* SPDX-License-Identifier: Apache-2.0 */
/* Taking messages out of the index for another attempt, changing them, listing them. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "spool/disk.h"
#include "spool/spool_internal.h"

enum { TAKE_MAX = 256, EXAMINE_MAX = 20000, CHANGE_MAX = 2000, LIST_BATCH = 64, UNREADABLE_DELAY_S = 3600 };

/* Taken once, so the value only has to be something. */
static char is_taken;

void taken_add(struct spool *sp, const char *id)
{
	map_set(&sp->taken, str_of(id), &is_taken);
}

void taken_remove(struct spool *sp, const char *id)
{
	map_remove(&sp->taken, str_of(id));
}

/* --- due messages -------------------------------------------------------------------- */

struct take_job {
	struct index *ix;
	struct wall_time now;
	uint32_t max;
	struct index_due due; /* moves on */
	bool is_flushing;
	struct wall_time flush_at;
	struct index_due flush_due; /* moves on */
	bool is_flush_over;
	struct spool_message *messages[TAKE_MAX];
	uint32_t count;
	uint32_t broken; /* rows that cannot be read */
	int err;
};

static void take_row(struct take_job *j, struct index_txn *txn, const char *id, uint32_t flags)
{
	struct spool_message *m;
	struct str row;

	if (index_get(txn, str_of(id), &row) || row_decode(row, &m)) {
		j->broken++;
		return;
	}
	m->flags |= flags;
	j->messages[j->count++] = m;
}

static int take_due(struct take_job *j, struct index_txn *txn)
{
	while (j->count < j->max) {
		struct index_due next = j->due;
		int err = index_due_next(txn, &next);

		if (err)
			return err == -ENOENT ? 0 : err;
		if (next.at.us > j->now.us)
			return 0;
		j->due = next;
		take_row(j, txn, next.id, 0);
	}
	return 0;
}

/* Everything that is not due, once: what was deferred again since the flush is passed over. */
static int take_flushed(struct take_job *j, struct index_txn *txn)
{
	for (int i = 0; j->count < j->max && i < EXAMINE_MAX; i++) {
		int err = index_due_next(txn, &j->flush_due);

		if (err) {
			j->is_flush_over = err == -ENOENT;
			return err == -ENOENT ? 0 : err;
		}
		if (j->flush_due.deferred_at.us <= j->flush_at.us && j->flush_due.at.us > j->due.at.us)
			take_row(j, txn, j->flush_due.id, SPOOL_FLUSHED);
	}
	return 0;
}

static void take_run(void *arg)
{
	struct take_job *j = arg;
	struct index_txn *txn;

	j->err = index_begin(j->ix, false, &txn);
	if (j->err)
		return;
	j->err = take_due(j, txn);
	if (!j->err && j->is_flushing)
		j->err = take_flushed(j, txn);
	index_abort(txn);
}

/*
 * What the record itself says: recipients done since the row was written, or all of it.
 * -ENOENT: it is done; -EBADMSG: there is no such record.
 */
static int check_record(struct spool *sp, struct spool_message *m)
{
	struct segment_file *seg = segment_find(sp, m->ref.segment, m->ref.epoch);
	size_t size = RECORD_HEAD_SIZE + (size_t)m->envelope.recipient_count, got;
	struct record_head head;
	char name[24];
	struct stat st;

	if (!seg)
		return -EBADMSG;

	char *bytes = mem_alloc(size);
	int err = disk_read_waiting(seg->fd, bytes, size, m->ref.at, &got);

	if (!err)
		err = got < size ? -EBADMSG : record_head_decode(str_n(bytes, RECORD_HEAD_SIZE), m->ref.epoch, &head);
	if (!err && head.state == RECORD_DONE)
		err = -ENOENT;
	if (!err)
		message_apply_states(m, str_n(bytes + RECORD_HEAD_SIZE, m->envelope.recipient_count));
	free(bytes);
	if (!err && m->large) {
		snprintf(name, sizeof name, "%016llx", (unsigned long long)m->large);
		if (fstatat(sp->large_fd, name, &st, AT_SYMLINK_NOFOLLOW))
			err = -errno;
	}
	return err;
}

static void retire(struct spool *sp, const struct spool_message *m)
{
	struct segment_file *seg = segment_find(sp, m->ref.segment, m->ref.epoch);
	struct op *o = op_new(OP_DELETE, m->envelope.queue_id);

	o->head.ref = m->ref;
	if (seg)
		seg->users++;
	taken_add(sp, m->envelope.queue_id);
	op_add(sp, o);
}

/* It is in memory now: nobody else gets it, and its segment stays. */
static void begin_work(struct spool *sp, struct spool_message *m)
{
	struct segment_file *seg = segment_find(sp, m->ref.segment, m->ref.epoch);

	if (seg)
		seg->users++;
	sp->active++;
	taken_add(sp, m->envelope.queue_id);
}

/* A disk may answer again later; a message that is damaged is shown to people for as long as it stays. */
static void put_off(struct spool *sp, struct spool_message *m, int err)
{
	spool_trouble(sp, "%s: cannot read the message in %s/segments/%08x: %s", m->envelope.queue_id, sp->path, m->ref.segment,
	              strerror(-err));
	begin_work(sp, m);
	m->next_attempt.us = clock_wall().us + UNREADABLE_DELAY_S * INT64_C(1000000);
	spool_defer(sp, m);
}

/* Gives a message that came from the index to `take`, or drops it when it is done after all. Frees or hands over `m`. */
static int give(struct spool *sp, struct spool_message *m, spool_take_fn *take, void *arg)
{
	int err = check_record(sp, m);

	if (!err) {
		begin_work(sp, m);
		take(arg, m);
	} else if (err == -ENOENT) {
		retire(sp, m);
		message_free(m);
	} else {
		put_off(sp, m, err);
	}
	return err;
}

int spool_take_due(struct spool *sp, struct wall_time now, uint32_t max, spool_take_fn *take, void *arg, uint32_t *ret_count)
{
	struct take_job *j = mem_alloc(sizeof *j);
	uint32_t count = 0;
	int err;

	index_lock(sp);
	*j = (struct take_job){.ix = sp->ix,
	                       .now = now,
	                       .max = max < TAKE_MAX ? max : TAKE_MAX,
	                       .due = sp->due,
	                       .is_flushing = sp->is_flushing,
	                       .flush_at = sp->flush_at,
	                       .flush_due = sp->flush_due};
	err = fiber_work(take_run, j);
	if (j->err)
		err = j->err;
	sp->due = j->due;
	/* One that was asked for meanwhile begins at its own beginning. */
	if (j->flush_at.us == sp->flush_at.us) {
		sp->flush_due = j->flush_due;
		sp->is_flushing &= !j->is_flush_over;
	}
	sp->is_next_known = false;
	for (uint32_t i = 0; i < j->count; i++) {
		if (map_find(&sp->taken, str_of(j->messages[i]->envelope.queue_id)))
			message_free(j->messages[i]);
		else if (!give(sp, j->messages[i], take, arg))
			count++;
	}
	index_unlock(sp);
	if (j->broken)
		spool_trouble(sp, "%u rows of the queue's index in %s/index cannot be read", j->broken, sp->path);
	free(j);
	*ret_count = count;
	return err;
}

struct wall_time spool_next_due(struct spool *sp)
{
	struct index_due next = sp->due;
	struct index_txn *txn;

	if (sp->is_flushing)
		return (struct wall_time){0};
	if (sp->is_next_known)
		return sp->next_due;
	sp->next_due.us = INT64_MAX;
	if (!index_begin(sp->ix, false, &txn)) {
		if (!index_due_next(txn, &next))
			sp->next_due = next.at;
		index_abort(txn);
		sp->is_next_known = true;
	}
	return sp->next_due;
}

void spool_flush(struct spool *sp)
{
	sp->is_flushing = true;
	sp->flush_at = clock_wall();
	sp->flush_due = sp->due;
}

struct get_job {
	struct index *ix;
	struct str id;
	struct spool_message *m;
	int err;
};

static void get_run(void *arg)
{
	struct get_job *j = arg;
	struct index_txn *txn;
	struct str row;

	j->err = index_begin(j->ix, false, &txn);
	if (j->err)
		return;
	j->err = index_get(txn, j->id, &row);
	if (!j->err)
		j->err = row_decode(row, &j->m);
	index_abort(txn);
}

static void take_one(void *arg, struct spool_message *m)
{
	*(struct spool_message **)arg = m;
}

int spool_take(struct spool *sp, struct str queue_id, struct spool_message **ret_message)
{
	struct get_job j = {.ix = sp->ix, .id = queue_id};
	int err = ops_settle(sp);

	if (err)
		return err;
	index_lock(sp);
	if (map_find(&sp->taken, queue_id)) {
		err = -EBUSY;
	} else {
		err = fiber_work(get_run, &j);
		if (!j.err)
			err = give(sp, j.m, take_one, ret_message);
		else
			err = j.err;
	}
	index_unlock(sp);
	return err;
}

/* --- changes ---------------------------------------------------------------------------- */

/* A row that a change deleted. */
struct deleted {
	struct record_ref ref;
	uint64_t size;
	uint64_t large;
};

struct change_job {
	struct index *ix;
	const struct map *taken; /* nobody changes it while the index is locked */
	struct wall_time now;
	enum spool_change what;
	bool is_all;
	char id[QUEUE_ID_SIZE]; /* the one, or the last one that was looked at */
	struct deleted *deleted;
	size_t deleted_count;
	uint64_t count;
	uint64_t indexed;
	uint64_t held;
	bool is_over;
	int err;
};

/* False: nothing to change. */
static bool change_head(struct change_job *j, struct row_head *head)
{
	bool is_held = head->flags & SPOOL_HELD;

	switch (j->what) {
	case SPOOL_HOLD:
		head->flags |= SPOOL_HELD;
		return !is_held;
	case SPOOL_RELEASE:
		head->flags &= ~(uint32_t)SPOOL_HELD;
		head->next_attempt = j->now;
		return is_held;
	case SPOOL_EXPIRE:
		head->flags |= SPOOL_EXPIRED;
		break;
	default:
		break;
	}
	if (!is_held)
		head->next_attempt = j->now;
	return true;
}

static int change_one(struct change_job *j, struct index_txn *txn, struct str id)
{
	struct row_head head;
	struct str row;
	int err;

	if (map_find(j->taken, id))
		return j->is_all ? 0 : -EBUSY;
	if (j->what == SPOOL_DELETE) {
		err = index_delete(txn, id, &head);
		if (!err)
			j->deleted[j->deleted_count++] =
				(struct deleted){.ref = head.ref, .size = head.size, .large = head.large};
	} else {
		err = index_get(txn, id, &row);
		if (!err)
			err = row_head_decode(row, &head);
		if (!err && !change_head(j, &head))
			return 0;
		if (!err)
			err = index_patch(txn, id, &head);
	}
	j->count += !err;
	return err;
}

/* The next CHANGE_MAX rows behind j->id, in one transaction. */
static int change_some(struct change_job *j, struct index_txn *txn)
{
	struct str id, row;
	int err = 0;

	for (int i = 0; !err && i < CHANGE_MAX; i++) {
		err = index_next(txn, str_of(j->id), &id, &row);
		if (err == -ENOENT) {
			j->is_over = true;
			return 0;
		}
		if (!err) {
			memset(j->id, 0, sizeof j->id);
			memcpy(j->id, id.ptr, size_min(id.len, sizeof j->id - 1));
			err = change_one(j, txn, str_of(j->id));
		}
	}
	return err;
}

static void change_run(void *arg)
{
	struct change_job *j = arg;
	uint64_t count = j->count;
	struct index_txn *txn;

	j->deleted_count = 0;
	j->err = index_begin(j->ix, true, &txn);
	if (j->err)
		return;
	if (j->is_all) {
		j->err = change_some(j, txn);
	} else {
		j->err = change_one(j, txn, str_of(j->id));
		j->is_over = true;
	}
	if (!j->err)
		j->err = index_count(txn, &j->indexed, &j->held);
	if (j->err)
		index_abort(txn);
	else
		j->err = index_commit(txn);
	if (j->err)
		j->count = count;
}

static void row_is_deleted(struct spool *sp, const struct deleted *d)
{
	struct segment_file *seg = segment_find(sp, d->ref.segment, d->ref.epoch);

	if (seg) {
		segment_mark(sp, d->ref, RECORD_STATE_AT, RECORD_DONE);
		seg->rows -= seg->rows > 0;
		seg->row_bytes -= d->size < seg->row_bytes ? d->size : seg->row_bytes;
		segment_check(sp, seg);
	}
	if (d->large)
		large_lose(sp, d->large);
}

int spool_change(struct spool *sp, struct str queue_id, enum spool_change what, uint64_t *ret_count)
{
	struct change_job j = {.ix = sp->ix, .taken = &sp->taken, .what = what, .is_all = str_is_empty(queue_id)};
	int err = queue_id.len >= sizeof j.id ? -ENOENT : ops_settle(sp);

	if (err)
		return err;
	if (queue_id.len)
		memcpy(j.id, queue_id.ptr, queue_id.len);
	j.deleted = mem_alloc(CHANGE_MAX * sizeof *j.deleted);
	while (!err && !j.is_over) {
		index_lock(sp);
		j.now.us = clock_wall().us > sp->due.at.us ? clock_wall().us : sp->due.at.us + 1;
		err = fiber_work(change_run, &j);
		if (j.err)
			err = j.err;
		if (!j.err) {
			sp->indexed = j.indexed;
			sp->held = j.held;
		}
		sp->is_next_known = false;
		for (size_t i = 0; !j.err && i < j.deleted_count; i++)
			row_is_deleted(sp, &j.deleted[i]);
		index_unlock(sp);
	}
	free(j.deleted);
	*ret_count = j.count;
	return err;
}

/* --- listing ------------------------------------------------------------------------------ */

struct spool_list {
	struct index *ix;
	struct index_txn *txn; /* NULL while it pauses */
	char after[QUEUE_ID_SIZE];
	struct spool_message *messages[LIST_BATCH];
	size_t count;
	size_t at;
	bool is_over;
	int err;
};

static void list_run(void *arg)
{
	struct spool_list *l = arg;
	struct str id, row;

	while (l->count < LIST_BATCH && !l->is_over && !l->err) {
		l->err = index_next(l->txn, str_of(l->after), &id, &row);
		if (l->err == -ENOENT) {
			l->err = 0;
			l->is_over = true;
		} else if (!l->err) {
			memset(l->after, 0, sizeof l->after);
			memcpy(l->after, id.ptr, size_min(id.len, sizeof l->after - 1));
			l->count += !row_decode(row, &l->messages[l->count]);
		}
	}
}

int spool_list_open(struct spool *sp, struct spool_list **ret_list)
{
	struct spool_list *l;
	int err = ops_settle(sp);

	/* A disk that takes no changes can still be read. */
	if (err && err != -EAGAIN)
		return err;
	l = mem_alloc(sizeof *l);
	l->ix = sp->ix;
	err = index_begin(l->ix, false, &l->txn);
	if (err) {
		free(l);
		return err;
	}
	*ret_list = l;
	return 0;
}

static void list_clear(struct spool_list *l)
{
	for (size_t i = 0; i < l->count; i++)
		message_free(l->messages[i]);
	l->count = l->at = 0;
}

int spool_list_next(struct spool_list *l, const struct spool_message **ret_message)
{
	if (l->at == l->count) {
		list_clear(l);

		int err = l->txn ? 0 : index_begin(l->ix, false, &l->txn);

		if (!err && !l->is_over && !l->err)
			err = fiber_work(list_run, l);
		if (err)
			return err;
	}
	if (l->at == l->count)
		return l->err ? l->err : -ENOENT;
	*ret_message = l->messages[l->at++];
	return 0;
}

void spool_list_pause(struct spool_list *l)
{
	index_abort(l->txn);
	l->txn = NULL;
}

void spool_list_close(struct spool_list *l)
{
	if (!l)
		return;
	list_clear(l);
	index_abort(l->txn);
	free(l);
}
