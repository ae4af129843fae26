/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The owner's side of the spool. One process holds it, qmgr, in one thread: functions
 * marked WAITS give other fibers the word, the others do little more than write a byte.
 *
 * A message comes as a record that a receiver appended, through `incoming`. It is worked
 * on as a struct spool_message and ends in one of two ways: spool_finish() when no
 * recipient is left, spool_defer() when something is to be tried later; that puts it into the
 * index, from which spool_take_due() brings it back. Nothing is lost in between: until the record's
 * state byte or the index says otherwise, the next start finds the message again.
 *
 * Folder: segments/%08x, large/%016x, index/ (LMDB), lock.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "fiber/fiber.h"
#include "mail/envelope.h"
#include "spool/segment.h"

struct spool;

/* Why a recipient was not served at the last attempt. */
struct spool_reason {
	struct str dsn;        /* "4.4.1" */
	struct str text;       /* for people: mailq, logs, bounces */
	struct str mta;        /* remote host, or empty */
	struct str diagnostic; /* remote reply, or empty */
};

struct spool_recipient {
	bool is_done;               /* set with spool_mark_done() only */
	struct spool_reason reason; /* set before spool_defer(); strings in the message's arena */
};

enum spool_flag {
	SPOOL_HELD = 1,    /* not due until released */
	SPOOL_WARNED = 2,  /* the delay warning was sent */
	SPOOL_EXPIRED = 4, /* an operator asked to give it up: bounce at the next attempt */
	SPOOL_FLUSHED = 8, /* taken because of a flush, not because it was due; not stored */
};

/* A message that is being worked on. */
struct spool_message {
	struct envelope envelope;           /* all recipients; those done are still in it */
	struct spool_recipient *recipients; /* in the order of envelope.recipients */
	uint32_t pending_count;             /* recipients that are not done */
	uint32_t attempts;                  /* earlier ones; counted by spool_defer() */
	uint32_t flags;                     /* enum spool_flag */
	struct wall_time next_attempt;      /* set before spool_defer() */
	struct wall_time deferred_at;       /* when spool_defer() was last called; 0 for a young message */
	struct record_ref ref;
	uint64_t large;      /* number of the large file, or 0 */
	uint64_t content_at; /* in the segment, or in the large file */
	bool is_indexed;     /* false for a young message */
	void *arg;           /* the owner's own */
	struct arena arena;  /* for everything that lives as long as the message */
};

struct spool_options {
	const char *path;      /* made when missing */
	uint64_t segment_size; /* 0 for SEGMENT_SIZE_DEFAULT */
	uint64_t reserve;      /* no segment or large file is granted while less than this is free on the disk */
};

/* What the spool tells its owner. None of these may wait. */
struct spool_events {
	void *arg;
	/* A new message, in the order of arrival in its segment. It is the callee's until spool_finish() or spool_defer(). */
	void (*incoming)(void *arg, struct spool_message *m);
	/* Deliverers must close these files: SEGMENT_CLOSE, LARGE_CLOSE. */
	void (*segment_gone)(void *arg, uint32_t segment, uint32_t epoch);
	void (*large_gone)(void *arg, uint64_t number);
	/* For the log: a damaged record, a disk that fails. */
	void (*trouble)(void *arg, struct str text);
};

/*
 * Opens or creates the spool and starts to recover what an earlier owner left; segments
 * can be granted at once, and recovered messages arrive through `incoming`. Fails with
 * -EBUSY when another process owns it, -ENOSPC, -EACCES ...; `why` then has a sentence.
 */
[[nodiscard]] int spool_open(const struct spool_options *o, const struct spool_events *events, struct buf *why,
                             struct spool **ret_spool) WAITS;
/* Makes durable what is under way and closes. Messages being worked on are found again at the next open; they stay the caller's.
 */
void spool_close(struct spool *sp) WAITS;
void spool_set_reserve(struct spool *sp, uint64_t bytes);
/* Nothing comes through `incoming` while `is_on` is false: mail waits in its segments. True at first. */
void spool_set_hungry(struct spool *sp, bool is_on);
/* True once everything an earlier owner left has been handed to `incoming`. */
bool spool_is_recovered(const struct spool *sp);

/* --- receivers ------------------------------------------------------------------ */

struct spool_grant {
	int fd; /* write-only; send it to the receiver and close it: a lock on it tells that a writer lives */
	uint32_t segment;
	uint32_t epoch;
	uint64_t size;
};

/* Answers SEGMENT_WANTED. -ENOSPC, -EIO, -EMFILE ...: SEGMENT_REFUSED with that number. */
[[nodiscard]] int spool_grant(struct spool *sp, struct spool_grant *ret_grant) WAITS;
/* QUEUED and SEGMENT_SEALED. News of a segment that is no more is ignored. -EINVAL: no receiver can mean that; ignore the message
 * and distrust the sender. */
[[nodiscard]] int spool_queued(struct spool *sp, uint32_t segment, uint32_t epoch, uint64_t end, bool is_sealed);
/* A receiver's channel ended: what it appended and did not announce is looked for. */
void spool_writer_gone(struct spool *sp);
/* Answers LARGE_WANTED: as spool_grant(); *ret_fd is to be sent and closed. */
[[nodiscard]] int spool_large_new(struct spool *sp, int *ret_fd, uint64_t *ret_number) WAITS;
/* LARGE_DROPPED; harmless when the file belongs to a message. */
void spool_large_drop(struct spool *sp, uint64_t number);

/* --- deliverers ----------------------------------------------------------------- */

/* A descriptor for reading, to be sent as SEGMENT_OPEN or LARGE_OPEN; stays the spool's. -ENOENT, -EMFILE ... */
[[nodiscard]] int spool_segment_fd(struct spool *sp, const struct spool_message *m, int *ret_fd);
[[nodiscard]] int spool_large_fd(struct spool *sp, const struct spool_message *m, int *ret_fd);

/* --- a message being worked on ----------------------------------------------------- */

/* The recipient is served (or bounced) for good. Kept by the disk at once for a crash of this process, soon for a power cut. */
void spool_mark_done(struct spool *sp, struct spool_message *m, uint32_t recipient);
/* The message is over, whatever its recipients' states. Frees `m`. */
void spool_finish(struct spool *sp, struct spool_message *m);
/*
 * To be tried again at m->next_attempt (or never, with SPOOL_HELD): durable in the index
 * together with all that comes in the same moment. Frees `m`.
 */
void spool_defer(struct spool *sp, struct spool_message *m);

/* --- the index ------------------------------------------------------------------- */

/*
 * Hands up to `max` messages that are due at `now`, or flushed, to `take`, earliest first; *ret_count says
 * how many. Each is the callee's as with `incoming`; it is not given again before spool_defer().
 */
typedef void spool_take_fn(void *arg, struct spool_message *m);
[[nodiscard]] int spool_take_due(struct spool *sp, struct wall_time now, uint32_t max, spool_take_fn *take, void *arg,
                                 uint32_t *ret_count) WAITS;
/* When to call spool_take_due() again: the earliest time in the index that was not given yet; 0 during a flush, INT64_MAX for
 * never. */
struct wall_time spool_next_due(struct spool *sp);
/* One message by its queue id, due or not, held or not. -ENOENT: not in the index; -EBUSY: being worked on. */
[[nodiscard]] int spool_take(struct spool *sp, struct str queue_id, struct spool_message **ret_message) WAITS;
/* All that was deferred before now is due once. Costs the same for one message and for a million. */
void spool_flush(struct spool *sp);

enum spool_change { SPOOL_HOLD, SPOOL_RELEASE, SPOOL_EXPIRE, SPOOL_RETRY, SPOOL_DELETE };
/*
 * Changes one message of the index, or all when `queue_id` is empty; *ret_count says how many.
 * Messages being worked on are left alone: the caller knows those. Durable on return.
 */
[[nodiscard]] int spool_change(struct spool *sp, struct str queue_id, enum spool_change what, uint64_t *ret_count) WAITS;

/* A consistent view of the index, by queue id, for listings. It holds back the reuse of index pages: read on, pause or close. */
struct spool_list;
[[nodiscard]] int spool_list_open(struct spool *sp, struct spool_list **ret_list) WAITS;
/* The next message, valid until the next call: nothing of it may be changed. -ENOENT at the end. */
[[nodiscard]] int spool_list_next(struct spool_list *l, const struct spool_message **ret_message) WAITS;
/* The view ends; the next call goes on behind the last message in a new one. */
void spool_list_pause(struct spool_list *l);
void spool_list_close(struct spool_list *l);

struct spool_counts {
	uint64_t active;     /* handed out and not back yet */
	uint64_t indexed;    /* in the index, those being worked on among them */
	uint64_t held;       /* of these */
	uint64_t committing; /* on their way into the index */
	uint64_t waiting;    /* bytes announced and not yet handed to `incoming` */
	uint64_t segments;   /* files */
	uint64_t disk;       /* bytes of all files */
};
void spool_count(struct spool *sp, struct spool_counts *ret_counts);
