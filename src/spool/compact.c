/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compaction: the live records of a segment that holds little else than dead ones are copied to a segment
 * of our own, made durable there, and the index then points to the copies. The old segment has no
 * reference any more and is used again. A crash before the index knows leaves copies that nobody refers to.
 */
#include <errno.h>

#include "spool/disk.h"
#include "spool/spool_internal.h"

enum { MOVES_MAX = 500, COPY_MAX = 8 << 20, SPARSE_PART = 4 };

struct move_job {
	struct spool *sp;
	struct segment_file *from;
	struct segment_file *to;
	uint64_t at;     /* in `from`: behind the last reference that was looked at */
	uint64_t to_at;  /* in `to` */
	struct list ops; /* OP_MOVE */
	bool is_full;    /* `to` has no room for the next one */
	bool is_damaged;
	int err;
};

/* The references into a segment, as moves without a target. */
static void gather_run(void *arg)
{
	struct move_job *j = arg;
	struct index_txn *txn = NULL;
	char id[QUEUE_ID_SIZE];

	j->err = index_begin(j->sp->ix, false, &txn);
	for (int i = 0; !j->err && i < MOVES_MAX; i++) {
		j->err = index_ref_next(txn, j->from->number, &j->at, id);
		if (j->err)
			break;

		struct op *o = op_new(OP_MOVE, id);

		o->head.ref = (struct record_ref){.segment = j->from->number, .epoch = j->from->epoch, .at = j->at++};
		list_add(&j->ops, &o->link);
	}
	index_abort(txn);
	if (j->err == -ENOENT)
		j->err = 0;
}

/* Writes the record as one of the other segment. */
static int copy_record(struct move_job *j, const struct scan_record *r, struct op *o)
{
	struct record_head head = r->head;
	char *bytes;
	size_t got;
	int err;

	if (r->size > j->to->size - j->to_at) {
		j->is_full = true;
		return 0;
	}
	bytes = mem_alloc((size_t)r->size);
	err = disk_read(j->from->fd, bytes, (size_t)r->size, r->at, &got);
	if (!err && got < r->size)
		err = -EIO;
	head.epoch = j->to->epoch;
	head.state = RECORD_INDEXED;
	if (!err) {
		record_head_encode(bytes, &head, str_n(bytes + record_envelope_at(&head), head.envelope_size));
		err = disk_write(j->to->fd, bytes, (size_t)r->size, j->to_at);
	}
	free(bytes);
	if (!err) {
		o->to = (struct record_ref){.segment = j->to->number, .epoch = j->to->epoch, .at = j->to_at};
		o->head.size = r->size;
		j->to_at += r->size;
	}
	return err;
}

static void copy_run(void *arg)
{
	struct move_job *j = arg;
	uint64_t limit = j->to_at + COPY_MAX;
	struct scan scan;
	struct scan_record r;

	scan_init(&scan, j->from->fd, j->from->epoch, 0, j->from->size);
	scan.checks_content = true;
	LIST_EACH(&j->ops, it) {
		struct op *o = LIST_ENTRY(it, struct op, link);

		if (j->err || j->is_full || j->to_at >= limit)
			break;
		scan.at = o->head.ref.at;
		j->err = scan_next(&scan, &r);
		if (j->err == -EBADMSG || j->err == -ENOENT) {
			j->is_damaged = true;
			j->err = 0;
		} else if (!j->err) {
			j->err = copy_record(j, &r, o);
		}
	}
	scan_done(&scan);
	if (!j->err)
		j->err = disk_sync(j->to->fd);
}

static void moves_free(struct move_job *j, bool only_empty)
{
	LIST_EACH(&j->ops, it) {
		struct op *o = LIST_ENTRY(it, struct op, link);

		if (only_empty && o->to.segment)
			continue;
		list_remove(&o->link);
		free(o);
	}
}

/* Tells the index, unless a message was taken meanwhile: its deliverers read from the old place. */
static int commit_moves(struct spool *sp, struct move_job *j)
{
	struct op_group g = {.ix = sp->ix};

	moves_free(j, true);
	list_init(&g.ops);
	index_lock(sp);
	LIST_EACH(&j->ops, it) {
		struct op *o = LIST_ENTRY(it, struct op, link);

		if (map_find(&sp->taken, str_of(o->id)))
			continue;
		list_remove(&o->link);
		list_add(&g.ops, &o->link);
		j->from->users++;
		j->to->users++;
	}
	moves_free(j, false);
	(void)fiber_work(op_group_run, &g);
	/* They never stood in line, and do not count as finished before those that do. */
	if (!g.err)
		(void)op_group_is_done(sp, &g);
	LIST_EACH(&g.ops, it) {
		struct op *o = LIST_ENTRY(it, struct op, link);

		j->from->users--;
		j->to->users--;
		list_remove(&o->link);
		free(o);
	}
	index_unlock(sp);
	return g.err;
}

static void seal_own(struct spool *sp)
{
	struct segment_file *own = sp->own;

	sp->own = NULL;
	own->end = own->handed_at = sp->own_at;
	segment_set_state(own, SEGMENT_SEALED);
	segment_check(sp, own);
}

static int open_own(struct spool *sp)
{
	struct segment_file *seg;
	int err = spool_check_space(sp);

	if (!err)
		err = segment_make_spare(sp, &seg);
	if (err)
		return err;
	segment_set_state(seg, SEGMENT_WRITING);
	seg->is_own = true;
	sp->own = seg;
	sp->own_at = SEGMENT_HEAD_SIZE;
	return 0;
}

/* One batch of records. What did not fit comes with the next call: the references of what was moved are gone. */
static int move_some(struct spool *sp, struct segment_file *from)
{
	struct move_job j = {.sp = sp, .from = from};
	int err = sp->own ? 0 : open_own(sp);

	if (err)
		return err;
	list_init(&j.ops);
	j.to = sp->own;
	j.to_at = sp->own_at;
	index_lock(sp);
	(void)fiber_work(gather_run, &j);
	index_unlock(sp);
	if (!j.err)
		(void)fiber_work(copy_run, &j);
	sp->own_at = j.to_at;
	if (!j.err)
		j.err = commit_moves(sp, &j);
	else
		moves_free(&j, false);
	if (j.is_damaged) {
		from->has_damage = true;
		spool_trouble(sp, "%s/segments/%08x: a deferred message cannot be read; the file is kept", sp->path,
		              from->number);
	}
	if (j.is_full)
		seal_own(sp);
	return j.err;
}

static bool is_sparse(const struct segment_file *seg)
{
	return seg->state == SEGMENT_SETTLED && seg->rows && !seg->users && !seg->has_damage &&
	       seg->row_bytes < seg->size / SPARSE_PART;
}

static struct segment_file *find_sparse(struct spool *sp)
{
	struct segment_file *best = NULL;
	unsigned settled = 0;

	LIST_EACH(&sp->segments, it) {
		struct segment_file *seg = LIST_ENTRY(it, struct segment_file, link);

		settled += seg->state == SEGMENT_SETTLED;
		if (is_sparse(seg) && (!best || seg->row_bytes < best->row_bytes))
			best = seg;
	}
	return settled > 1 ? best : NULL;
}

void compact_some(struct spool *sp)
{
	struct segment_file *seg = find_sparse(sp);
	uint64_t rows;
	int err = 0;

	/* Only this fiber lets segments go, so `seg` stays; what is taken meanwhile stays in it. */
	while (seg && !err && !sp->is_closing && is_sparse(seg)) {
		rows = seg->rows;
		err = move_some(sp, seg);
		if (seg->rows >= rows)
			break;
	}
	if (err && err != -ENOSPC)
		spool_trouble(sp, "cannot compact %s/segments/%08x: %s", sp->path, seg->number, strerror(-err));
}
