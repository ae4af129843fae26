/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of the index, in groups: one fiber takes all that wait, a helper thread commits them in one
 * transaction, then the records' state bytes follow. Nothing is lost by waiting, for the messages lie safely in
 * their segments, and a transaction costs by the pages that it writes and syncs: so the first change
 * waits for others a while, unless somebody wants to see it done. A group that fails is tried again.
 */
#include <errno.h>

#include "spool/spool_internal.h"

enum { GROUP_MAX = 2000, GATHER_MS = 100, RETRY_S = 1 };

struct op *op_new(enum op_kind kind, const char *id)
{
	struct op *o = mem_alloc(sizeof *o);

	o->kind = kind;
	snprintf(o->id, sizeof o->id, "%s", id);
	list_init(&o->link);
	return o;
}

static void op_free(struct op *o)
{
	list_remove(&o->link);
	buf_done(&o->row);
	free(o);
}

static bool is_group_full(const struct spool *sp)
{
	return sp->ops_added - sp->ops_finished >= GROUP_MAX;
}

void op_add(struct spool *sp, struct op *o)
{
	bool is_first = list_is_empty(&sp->ops);

	list_add(&sp->ops, &o->link);
	sp->ops_added++;
	if (is_first || is_group_full(sp))
		wait_list_wake_all(&sp->has_ops);
}

static int run_op(struct index_txn *txn, struct op *o)
{
	struct str id = str_of(o->id);
	int err;

	switch (o->kind) {
	case OP_PUT:
		err = index_put(txn, id, &o->head, buf_str(&o->row));
		break;
	case OP_DELETE:
		err = index_delete(txn, id, &o->head);
		break;
	case OP_MOVE:
		err = index_move(txn, id, o->head.ref, o->to);
		break;
	default:
		err = index_settle(txn, o->head.ref.segment, o->head.ref.epoch);
		break;
	}
	o->result = err;
	/* These two are answers; anything else spoils the transaction. */
	return err == -ENOENT || err == -EEXIST ? 0 : err;
}

void op_group_run(void *arg)
{
	struct op_group *g = arg;
	struct index_txn *txn;

	g->err = index_begin(g->ix, true, &txn);
	if (g->err)
		return;
	LIST_EACH(&g->ops, it)
		if (!g->err)
			g->err = run_op(txn, LIST_ENTRY(it, struct op, link));
	if (!g->err)
		g->err = index_count(txn, &g->indexed, &g->held);
	if (g->err)
		index_abort(txn);
	else
		g->err = index_commit(txn);
}

/* --- after the commit -------------------------------------------------------------- */

static void drop_user(struct spool *sp, struct record_ref ref)
{
	struct segment_file *seg = segment_find(sp, ref.segment, ref.epoch);

	if (!seg)
		return;
	seg->users--;
	segment_check(sp, seg);
}

static void put_is_done(struct spool *sp, struct op *o)
{
	struct segment_file *seg = segment_find(sp, o->head.ref.segment, o->head.ref.epoch);

	if (o->head.large)
		large_forget(sp, o->head.large);
	if (!o->is_young)
		taken_remove(sp, o->id);
	if (!seg)
		return;
	if (o->is_young) {
		segment_mark(sp, o->head.ref, RECORD_STATE_AT, RECORD_INDEXED);
		seg->young--;
		seg->rows++;
		seg->row_bytes += o->head.size;
	}
	seg->users--;
	segment_check(sp, seg);
}

static void subtract_row(struct segment_file *seg, uint64_t size)
{
	seg->rows -= seg->rows > 0;
	seg->row_bytes -= size < seg->row_bytes ? size : seg->row_bytes;
}

static void delete_is_done(struct spool *sp, struct op *o)
{
	struct segment_file *seg = segment_find(sp, o->head.ref.segment, o->head.ref.epoch);

	taken_remove(sp, o->id);
	if (!seg)
		return;
	if (!o->result)
		subtract_row(seg, o->head.size);
	seg->users--;
	segment_check(sp, seg);
}

static void move_is_done(struct spool *sp, struct op *o)
{
	struct segment_file *from = segment_find(sp, o->head.ref.segment, o->head.ref.epoch);
	struct segment_file *to = segment_find(sp, o->to.segment, o->to.epoch);

	if (!o->result && from)
		subtract_row(from, o->head.size);
	if (!o->result && to) {
		to->rows++;
		to->row_bytes += o->head.size;
	}
	drop_user(sp, o->head.ref);
	drop_user(sp, o->to);
}

static void settle_is_done(struct spool *sp, struct op *o)
{
	struct segment_file *seg = segment_find(sp, o->head.ref.segment, o->head.ref.epoch);

	if (!seg)
		return;
	seg->is_settling = false;
	if (seg->state == SEGMENT_SEALED)
		segment_set_state(seg, SEGMENT_SETTLED);
	drop_user(sp, o->head.ref);
	spool_poke(sp); /* it may be one to compact */
}

static void op_is_done(struct spool *sp, struct op *o)
{
	switch (o->kind) {
	case OP_PUT:
		put_is_done(sp, o);
		break;
	case OP_DELETE:
		delete_is_done(sp, o);
		break;
	case OP_MOVE:
		move_is_done(sp, o);
		break;
	case OP_SETTLE:
		settle_is_done(sp, o);
		break;
	}
}

/* Two messages with one queue id: the later one stays in its segment and in memory until the first is gone. */
static bool must_wait(const struct op *o)
{
	return o->kind == OP_PUT && o->result == -EEXIST;
}

/* Times up to the one that was given last are not looked at again before the next start. */
static void put_behind(struct op *o, struct wall_time given)
{
	char bytes[ROW_HEAD_SIZE + 1];
	struct buf head;

	if (o->kind != OP_PUT || o->head.next_attempt.us > given.us)
		return;
	o->head.next_attempt.us = given.us + 1;
	buf_init_on(&head, bytes, sizeof bytes, ROW_HEAD_SIZE);
	row_head_encode(&head, &o->head);
	memcpy(o->row.ptr, head.ptr, head.len);
	buf_done(&head);
}

/* While the index is locked, so that nothing is given before they stand in it. */
static void group_take(struct spool *sp, struct op_group *g)
{
	size_t count = 0;

	list_init(&g->ops);
	while (!list_is_empty(&sp->ops) && count++ < GROUP_MAX) {
		struct op *o = LIST_ENTRY(list_first(&sp->ops), struct op, link);

		list_remove(&o->link);
		list_add(&g->ops, &o->link);
		put_behind(o, sp->due.at);
	}
}

/* Back to the front of the queue, in the same order. */
static void group_put_back(struct spool *sp, struct op_group *g)
{
	while (!list_is_empty(&g->ops)) {
		struct list *last = g->ops.prev;

		list_remove(last);
		list_add_first(&sp->ops, last);
	}
}

size_t op_group_is_done(struct spool *sp, struct op_group *g)
{
	size_t count = 0;

	LIST_EACH(&g->ops, it) {
		struct op *o = LIST_ENTRY(it, struct op, link);

		if (must_wait(o))
			continue;
		op_is_done(sp, o);
		op_free(o);
		count++;
	}
	sp->indexed = g->indexed;
	sp->held = g->held;
	sp->is_next_known = false;
	return count;
}

static void group_has_failed(struct spool *sp, struct op_group *g)
{
	if (!sp->is_stuck)
		spool_trouble(sp, "cannot write the queue's index in %s/index: %s; trying again", sp->path, strerror(-g->err));
	sp->is_stuck = true;
	group_put_back(sp, g);
}

static void group_has_succeeded(struct spool *sp, struct op_group *g)
{
	sp->ops_finished += op_group_is_done(sp, g);
	if (!list_is_empty(&g->ops) && !sp->is_stuck)
		spool_trouble(sp, "some messages have queue ids that others have; they wait");
	sp->is_stuck = !list_is_empty(&g->ops);
	group_put_back(sp, g);
}

/* Waits until there is a group worth its transaction, or for anything that somebody wants done. */
static int gather(struct spool *sp)
{
	struct instant deadline;
	int err = 0;

	while (!err && list_is_empty(&sp->ops))
		err = wait_list_wait(&sp->has_ops, INSTANT_NEVER);
	deadline = clock_deadline(duration_ms(GATHER_MS));
	while (!err && sp->ops_wanted <= sp->ops_finished && !is_group_full(sp))
		err = wait_list_wait(&sp->has_ops, deadline);
	return err == -ETIMEDOUT ? 0 : err;
}

void commit_main(void *arg)
{
	struct spool *sp = arg;
	int err = 0;

	while (!err) {
		struct op_group g = {.ix = sp->ix};

		err = gather(sp);
		if (err)
			break;
		index_lock(sp);
		group_take(sp, &g);
		err = fiber_work(op_group_run, &g);
		if (g.err)
			group_has_failed(sp, &g);
		else
			group_has_succeeded(sp, &g);
		index_unlock(sp);
		wait_list_wake_all(&sp->ops_done);
		if (!err && sp->is_stuck)
			err = fiber_sleep(duration_s(RETRY_S));
	}
	/* What is left lies in its segments. */
	LIST_EACH(&sp->ops, it)
		op_free(LIST_ENTRY(it, struct op, link));
}

int ops_settle(struct spool *sp)
{
	uint64_t wanted = sp->ops_added;
	int err = 0;

	sp->ops_wanted = wanted;
	wait_list_wake_all(&sp->has_ops);
	while (!err && sp->ops_finished < wanted) {
		err = wait_list_wait(&sp->ops_done, INSTANT_NEVER);
		if (!err && sp->is_stuck)
			err = -EAGAIN;
	}
	return err;
}
