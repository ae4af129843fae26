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
 * The memory of all waiting messages is bounded: see appender_reserve().
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

/* The bound of appender_reserve(); 64 MiB when never set. */
void appender_set_memory(struct appender *ap, size_t bytes);
/* Memory for bodies in flight, one bound a process: waits until `size` bytes are free. More than the bound fails with -EMSGSIZE.
 */
[[nodiscard]] int appender_reserve(struct appender *ap, size_t size, struct instant deadline) WAITS;
void appender_release(struct appender *ap, size_t size);
