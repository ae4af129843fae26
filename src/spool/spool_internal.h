/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the owner's side share: the spool, its segments, and work for the index. */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "spool/index.h"
#include "spool/owner.h"
#include "spool/row.h"
#include "spool/scan.h"

enum segment_state {
	SEGMENT_SPARE,    /* empty, its head on disk: may be granted */
	SEGMENT_WRITING,  /* a receiver appends, or may still do so */
	SEGMENT_SEALED,   /* nothing more comes; records are still read or young */
	SEGMENT_SETTLED,  /* every record is done or in the index, and the index knows it */
	SEGMENT_CLEARING, /* nothing alive; on its way to SPARE or GONE */
	SEGMENT_GONE,
};

/* A segment of the owner's folder. */
struct segment_file {
	struct list link; /* in spool.segments */
	uint32_t number;
	uint32_t epoch;
	int fd;      /* for reading and writing */
	int read_fd; /* for deliverers, who must not write; -1 until one is wanted */
	uint64_t size;
	enum segment_state state;
	bool is_recovered;  /* from an earlier owner: its end must be found */
	bool is_settling;   /* an op to that effect is under way */
	bool is_own;        /* written by compaction */
	bool has_damage;    /* unreadable records that a person may want to see: never used again */
	bool has_marks;     /* state bytes were written since the last sync */
	uint64_t end;       /* records before it were announced */
	uint64_t handed_at; /* records before it were handed out */
	uint64_t young;     /* messages handed out that are not in the index yet */
	uint64_t users;     /* messages in memory and ops that refer to it, the young among them, and who reads it */
	uint64_t rows;      /* of the index that point into it */
	uint64_t row_bytes;
};

enum op_kind { OP_PUT, OP_DELETE, OP_MOVE, OP_SETTLE };

/* One change of the index, in the order in which they were asked for. */
struct op {
	struct list link;
	enum op_kind kind;
	char id[QUEUE_ID_SIZE];
	struct row_head head; /* of the row put, or the row's before it is moved or deleted */
	struct record_ref to; /* OP_MOVE */
	struct buf row;       /* OP_PUT */
	bool is_young;        /* OP_PUT: the record is not in the index yet */
	int result;
};

struct spool {
	struct spool_events events;
	char *path;
	uint64_t segment_size;
	uint64_t reserve;
	int folder_fd;   /* of the spool */
	int segments_fd; /* of its folders */
	int large_fd;
	int lock_fd;
	struct index *ix;
	bool is_rebuilding; /* the index is new: records marked as indexed are not */
	bool is_closing;

	struct list segments;
	struct map by_number;  /* of 4 bytes -> struct segment_file */
	uint32_t last_segment; /* greatest number in use */
	uint64_t last_large;
	struct list large; /* struct large_file: young or open */

	/* Messages come from here. */
	struct fiber *scanner;
	bool is_hungry;
	struct wait_list work; /* the scanner */
	bool has_work;         /* since it last began a round */
	uint64_t active;

	/* Changes of the index go through here, one group at a time. */
	struct fiber *committer;
	struct list ops;
	uint64_t ops_added;
	uint64_t ops_finished;
	uint64_t ops_wanted; /* somebody waits until so many are finished */
	bool is_stuck;       /* the last group failed */
	struct wait_list has_ops;
	struct wait_list ops_done;
	bool is_index_busy;
	struct wait_list index_free;

	struct map taken;     /* queue ids of indexed messages in memory or in ops */
	struct index_due due; /* everything before it was given */
	bool is_flushing;
	struct wall_time flush_at;
	struct index_due flush_due; /* how far the flush came */
	bool is_next_known;
	struct wall_time next_due;
	uint64_t indexed;
	uint64_t held;

	struct fiber *keeper;
	struct wait_list keep;    /* wakes the keeper early */
	bool is_poked;            /* there is something for it */
	struct list lost_large;   /* struct large_file to be removed */
	struct instant sweep_at;  /* when to look for abandoned large files */
	struct segment_file *own; /* where compaction writes */
	uint64_t own_at;          /* its next record */
	bool is_making;           /* a segment is being made */
	struct wait_list made;
};

/* A large file that this process knows: granted, of a young message, or open for reading. */
struct large_file {
	struct list link;
	uint64_t number;
	int fd; /* -1 when not open */
	bool has_message;
};

/* owner.c */
void spool_trouble(struct spool *sp, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Wakes the keeper: there are marks to sync, segments to clear or to compact, files to remove. */
void spool_poke(struct spool *sp);
void index_lock(struct spool *sp) WAITS;
void index_unlock(struct spool *sp);

/* segments.c */
struct segment_file *segment_find(struct spool *sp, uint32_t number, uint32_t epoch);
/* All segments of the folder, without reading more than their heads. Blocks. */
[[nodiscard]] int segments_load(struct spool *sp, struct buf *why);
void segments_close(struct spool *sp);
/* Makes sure that a spare segment is there. */
[[nodiscard]] int segment_make_spare(struct spool *sp, struct segment_file **ret_segment) WAITS;
void segment_set_state(struct segment_file *seg, enum segment_state to);
/* True while another process may write to it. */
bool segment_has_writer(struct segment_file *seg);
/* A reference was dropped or the end was found: moves on to SETTLED or CLEARING when nothing holds it. */
void segment_check(struct spool *sp, struct segment_file *seg);
/* Writes one state byte of a record. */
void segment_mark(struct spool *sp, struct record_ref ref, uint64_t offset, uint8_t state);
/* Uses cleared segments anew or removes them. */
void segments_clear(struct spool *sp) WAITS;
/* Nothing has happened for a while: gives back one spare, but not the last. */
void segments_trim(struct spool *sp);
void segments_sync_marks(struct spool *sp) WAITS;
/* Looks whether writers have gone; true when some segment became SEALED or has more to scan. */
void segments_check_writers(struct spool *sp);
/* Everything written to it has been read: nothing can come any more. */
bool segment_is_read(const struct segment_file *seg);
/* Bytes free on the disk are more than the reserve. */
[[nodiscard]] int spool_check_space(struct spool *sp);

/* large.c */
struct large_file *large_find(struct spool *sp, uint64_t number);
struct large_file *large_add(struct spool *sp, uint64_t number);
/* Its message is over: close and remove it. */
void large_lose(struct spool *sp, uint64_t number);
void large_remove_lost(struct spool *sp) WAITS;
/* Its message is in the index now: close it. */
void large_forget(struct spool *sp, uint64_t number);
/* Removes old files that no message has. Every announced record must have been handed out. */
void large_sweep(struct spool *sp) WAITS;
/* Finds the greatest number in use. Blocks. */
[[nodiscard]] int large_load(struct spool *sp);
void large_close_all(struct spool *sp);

/* arrive.c */
/* There may be more to read in some segment. */
void spool_rescan(struct spool *sp);
void arrive_main(void *arg) WAITS;

/* commit.c */
void commit_main(void *arg) WAITS;
struct op *op_new(enum op_kind kind, const char *id);
void op_add(struct spool *sp, struct op *o);
/* A transaction on its way to the disk. */
struct op_group {
	struct index *ix;
	struct list ops;
	uint64_t indexed; /* rows in the whole index afterwards */
	uint64_t held;
	int err;
};
/* For a helper thread, while the index is locked. */
void op_group_run(void *arg);
/*
 * After a group that did not fail, still under the lock: marks and counts what changed, frees its ops but those that
 * must wait. Returns how many it freed.
 */
size_t op_group_is_done(struct spool *sp, struct op_group *g);
/* Waits until every op asked for so far is durable; -EIO and the like when that fails now. */
[[nodiscard]] int ops_settle(struct spool *sp) WAITS;

/* query.c */
void taken_add(struct spool *sp, const char *id);
void taken_remove(struct spool *sp, const char *id);

/* keeper.c */
void keeper_main(void *arg) WAITS;

/* compact.c */
void compact_some(struct spool *sp) WAITS;
