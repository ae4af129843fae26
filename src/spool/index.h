/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index: an LMDB environment with what survived its first attempt. Everything here
 * works at once on the calling thread; commit.c and query.c put it on helper threads.
 *
 *	messages  queue id -> row (row.h)
 *	due       u64 next attempt, queue id -> u64 deferred at; held messages have no entry
 *	held      queue id -> nothing
 *	refs      u32 segment, u64 at -> queue id
 *	segments  u32 segment -> struct index_segment
 *	large     u64 number -> queue id
 *
 * Integers in keys are big-endian, so that keys sort by them. All errors are -errno; those of LMDB
 * itself become -ENOSPC (map full) or -EIO.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "mail/envelope.h"
#include "spool/row.h"
#include "spool/segment.h"

struct index;
struct index_txn;

/* *ret_is_new: there was none, so that segments must tell everything, until index_settle(txn, 0, 0) says that they have. */
[[nodiscard]] int index_open(const char *folder, struct buf *why, struct index **ret_index, bool *ret_is_new);
void index_close(struct index *ix);

/* One writer at a time; readers see what was committed before they began. A transaction may move between threads. */
[[nodiscard]] int index_begin(struct index *ix, bool may_write, struct index_txn **ret_txn);
[[nodiscard]] int index_commit(struct index_txn *txn);
void index_abort(struct index_txn *txn);

/* Views into the index are valid until the next change or the end of the transaction. */
[[nodiscard]] int index_get(struct index_txn *txn, struct str id, struct str *ret_row);
/* Adds or replaces. -EEXIST: another record already has this queue id. */
[[nodiscard]] int index_put(struct index_txn *txn, struct str id, const struct row_head *head, struct str row);
/* -ENOENT, or what the row said. */
[[nodiscard]] int index_delete(struct index_txn *txn, struct str id, struct row_head *ret_head);
/* Changes flags and next attempt; the rest of `head` must be what is there. */
[[nodiscard]] int index_patch(struct index_txn *txn, struct str id, const struct row_head *head);
/* The record now lies elsewhere. -ENOENT when the row is gone or points elsewhere already. */
[[nodiscard]] int index_move(struct index_txn *txn, struct str id, struct record_ref from, struct record_ref to);
/* The first row whose id is greater than `after`; -ENOENT at the end. */
[[nodiscard]] int index_next(struct index_txn *txn, struct str after, struct str *ret_id, struct str *ret_row);

/* A place in the due table. */
struct index_due {
	struct wall_time at;
	struct wall_time deferred_at;
	char id[QUEUE_ID_SIZE];
};

/* Moves *due to the entry that follows it; a zeroed one is before all. -ENOENT at the end. */
[[nodiscard]] int index_due_next(struct index_txn *txn, struct index_due *due);

/* Moves *at and *ret_id to the first reference into the segment at or behind *at. -ENOENT at the end. */
[[nodiscard]] int index_ref_next(struct index_txn *txn, uint32_t segment, uint64_t *at, char ret_id[QUEUE_ID_SIZE]);

/* What the index knows of a segment. */
struct index_segment {
	uint32_t epoch;
	bool is_settled; /* sealed, and every record is done or in the index: need not be read at a start */
	uint64_t count;  /* rows that point into it */
	uint64_t bytes;  /* their records' size */
};

[[nodiscard]] int index_get_segment(struct index_txn *txn, uint32_t segment, struct index_segment *ret_segment);
[[nodiscard]] int index_settle(struct index_txn *txn, uint32_t segment, uint32_t epoch);
bool index_has_large(struct index_txn *txn, uint64_t number);
/* The greatest large file number and segment number the index ever referred to and still does. */
[[nodiscard]] int index_last_numbers(struct index_txn *txn, uint32_t *ret_segment, uint64_t *ret_large);
[[nodiscard]] int index_count(struct index_txn *txn, uint64_t *ret_messages, uint64_t *ret_held);
