/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receivers' side of the spool: append a message, wait until it is on disk. All
 * messages that wait at the same moment are written with one system call and become
 * durable with one fdatasync (on a helper thread). Knows of qmgr only what
 * struct append_owner gives: where segments come from and whom to tell.
 */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "fiber/fiber.h"
#include "mail/envelope.h"
#include "spool/segment.h"

struct appender;

/* How the appender reaches the owner of the spool; given by the role. None of these wait. */
struct append_owner {
	void *arg;
	void (*want_segment)(void *arg);
	/* Records before `end` are on disk. `is_sealed`: nothing more comes into this segment. */
	void (*queued)(void *arg, uint32_t segment, uint32_t epoch, uint64_t end, int is_sealed);
	/* A file for a large message is wanted; may be NULL when none ever will be. */
	void (*want_large)(void *arg, uint64_t token);
	/* The large file came to nothing: remove it. */
	void (*drop_large)(void *arg, uint64_t number);
};

[[nodiscard]] struct appender *appender_new(const struct append_owner *owner);
/* Waits for what is under way, seals the segments and tells the owner. */
void appender_free(struct appender *ap) WAITS;
/* A segment from the owner; takes `fd` over. */
void appender_grant(struct appender *ap, int fd, uint32_t segment, uint32_t epoch, uint64_t size);
/* The owner has none: messages fail with -`error` (ENOSPC, EIO, EMFILE ...) until the next grant. It is asked again. */
void appender_refuse(struct appender *ap, int error);
/* The owner is new: seal what is written, tell it, and ask for a fresh segment. Waits for groups under way. */
void appender_reset(struct appender *ap) WAITS;

/*
 * Appends one message and waits until it is on disk: 0 means that it survives any crash.
 * `content` is the finished message text, CRLF lines as they go over the wire, without dot-stuffing;
 * at most RECORD_CONTENT_MAX bytes, else -EFBIG. Fails with -ENOSPC, -EIO, -ETIMEDOUT ... when
 * nothing was kept. `e->content_size` is set to the content's size in what is stored.
 * The memory of all waiting messages is bounded: see struct append_share.
 */
[[nodiscard]] int appender_append(struct appender *ap, const struct envelope *e, struct str content) WAITS;

/* A message too long for a record: it grows in a file of its own and holds no memory. */
struct append_large;
[[nodiscard]] int appender_large_open(struct appender *ap, struct append_large **ret_large) WAITS;
[[nodiscard]] int append_large_write(struct append_large *l, struct str bytes) WAITS;
/* Makes the file durable, then its record, as appender_append(). Frees `l` in any case. */
[[nodiscard]] int append_large_commit(struct append_large *l, const struct envelope *e) WAITS;
/* The message is given up; frees `l`. */
void append_large_abort(struct append_large *l);
/* The owner's answers to want_large(). The grant takes `fd` over. */
void appender_large_grant(struct appender *ap, uint64_t token, int fd, uint64_t number);
void appender_large_refuse(struct appender *ap, uint64_t token, int error);

/*
 * Memory for bodies in flight has one bound a process; 64 MiB when never set. Each message in the making has a
 * share of it. Once more than half is used, and while others wait, shares that are not busy are asked to move.
 */
void appender_set_memory(struct appender *ap, size_t bytes);

struct append_share;
/*
 * Puts what the share's memory holds elsewhere and calls append_share_shrink(); false when it could not be. With `must` the
 * message is given up rather than kept here: others wait. Called by a fiber of the appender.
 */
typedef bool append_move_fn(struct append_share *s, bool must) WAITS;

struct append_share {
	struct appender *appender;
	size_t size;
	append_move_fn *move;
	struct list link;
	struct instant born;
	struct instant not_before; /* to be asked again */
	bool is_busy;
	bool is_moving;
	struct wait_list moved;
};

void append_share_init(struct append_share *s, struct appender *ap, append_move_fn *move);
/* Gives all back. */
void append_share_done(struct append_share *s) WAITS;
/* Around work on what the share holds: nobody moves it meanwhile. */
void append_share_begin(struct append_share *s) WAITS;
void append_share_end(struct append_share *s);
/*
 * More memory, `size` in all. -ETIMEDOUT when it did not become free before `deadline`; -EMSGSIZE: more than the bound. Who waits
 * is not busy: the share may be smaller afterwards than it was, and s->size tells what it has now.
 */
[[nodiscard]] int append_share_grow(struct append_share *s, size_t size, struct instant deadline) WAITS;
void append_share_shrink(struct append_share *s, size_t size);
