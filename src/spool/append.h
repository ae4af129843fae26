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
#include "mail/envelope.h"
#include "spool/segment.h"

struct appender;

/* How the appender reaches the owner of the spool; given by the role. None of these wait. */
struct append_owner {
	void *arg;
	void (*want_segment)(void *arg);
	/* Records before `end` are on disk. `is_sealed`: nothing more comes into this segment. */
	void (*queued)(void *arg, uint32_t segment, uint32_t epoch, uint64_t end, int is_sealed);
};

[[nodiscard]] struct appender *appender_new(const struct append_owner *owner);
void appender_free(struct appender *ap);
/* A segment from the owner; takes `fd` over. */
void appender_grant(struct appender *ap, int fd, uint32_t segment, uint32_t epoch, uint64_t size);
/* The owner has none: messages fail with -`error` (ENOSPC, EIO, EMFILE ...) until the next grant. */
void appender_refuse(struct appender *ap, int error);
/* The owner is new: seal what is written, tell it, and ask for a fresh segment. Waits for groups under way. */
void appender_reset(struct appender *ap) WAITS;

/*
 * Appends one message and waits until it is on disk: 0 means that it survives any crash.
 * `content` is the finished message text, CRLF lines as they go over the wire, without dot-stuffing; fails with -ENOSPC,
 * -EIO ... when nothing was kept. The memory of all waiting messages is bounded: see appender_reserve().
 */
[[nodiscard]] int appender_append(struct appender *ap, const struct envelope *e, struct str content) WAITS;

/* Memory for bodies in flight, one bound a process: waits until `size` bytes are free. */
[[nodiscard]] int appender_reserve(struct appender *ap, size_t size, struct instant deadline) WAITS;
void appender_release(struct appender *ap, size_t size);
