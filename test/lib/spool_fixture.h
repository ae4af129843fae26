/* SPDX-License-Identifier: Apache-2.0 */
/* A spool with its owner and one receiver in one process, as qmgr and smtpd would have them. */
#pragma once

#include "spool/append.h"
#include "spool/owner.h"

enum { FIXTURE_MESSAGES_MAX = 65536 };

struct fixture {
	struct spool *sp;
	struct appender *ap;
	struct spool_message *messages[FIXTURE_MESSAGES_MAX]; /* came through `incoming` or fixture_take */
	size_t count;
	struct wait_list arrived;
	struct buf troubles;
	unsigned gone; /* segments */
	bool is_cut;   /* the two do not hear each other */
	unsigned next_id;
};

/* Runs `fn` as a fiber on a fresh loop, until all fibers have ended. */
void fixture_run(fiber_fn *fn, void *arg);
/* The owner alone; without an appender. 0 or what spool_open() said. */
[[nodiscard]] int fixture_open(struct fixture *f, const char *folder, uint64_t segment_size) WAITS;
void fixture_start_appender(struct fixture *f);
/* Both ends in order. Messages not finished or deferred are freed. */
void fixture_close(struct fixture *f) WAITS;
/* As if the receiver had been killed: nothing more is announced; returns with all descriptors closed. */
void fixture_kill_appender(struct fixture *f) WAITS;
/* A message from `sender` to `recipients` r0@example.org ... */
[[nodiscard]] int fixture_append(struct fixture *f, const char *sender, unsigned recipients, struct str content) WAITS;
/* Waits until `count` messages have come in all; gives up after 25 seconds. */
bool fixture_wait(struct fixture *f, size_t count) WAITS;
/* Waits likewise until no segment is on its way to be used anew. */
bool fixture_wait_cleared(struct fixture *f) WAITS;
/* The message of that sender, or NULL. */
struct spool_message *fixture_find(struct fixture *f, const char *sender);
void fixture_finish(struct fixture *f, const char *sender);
void fixture_defer(struct fixture *f, const char *sender, struct wall_time next_attempt, const char *text);
/* Takes all that is due or flushed into `messages`. */
uint32_t fixture_take_due(struct fixture *f, struct wall_time now) WAITS;
/* The content of a message, to be ended with buf_done(). */
struct buf fixture_content(struct fixture *f, const struct spool_message *m);
