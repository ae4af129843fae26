/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests: the queue manager with a real spool, a receiver that appends to it, and deliverers that
 * answer as each test wants: by the name of the recipient ("ok", "later", "never", "neverlong", "down", "die").
 */
#pragma once

#include "mail/queue_id.h"
#include "role/qmgr/qmgr.h"
#include "spool/append.h"

struct stage {
	struct qmgr q;
	struct appender *ap;
	struct channel *receiver;
	struct queue_id_maker ids;
	struct buf delivered; /* "sender>recipient " of all that was sent */
	struct buf reports;   /* contents of what was submitted */
	struct buf envelopes; /* "sender>recipient " of what was submitted */
	unsigned jobs;
	bool is_later_over;  /* "later" is taken now */
	bool is_answer_late; /* the receiver keeps what is submitted to itself */
	const char *folder;
	int log_fd;
};

extern struct stage *stage;

/* Runs `fn` on a fresh stage with that main.cf; ends with a drain. */
void stage_play(const char *main_cf, void (*fn)(void));
/* Writes the configuration and reads it. */
struct config *stage_load(const char *main_cf);
void stage_append(const char *sender, struct recipient *recipients, uint32_t count, uint32_t flags, struct str content) WAITS;
void stage_send_mail(const char *sender, const char *recipient) WAITS;
void stage_add_deliverer(uint32_t id, bool never_dies);
bool stage_has(const struct buf *b, const char *text);
bool stage_has_logged(const char *text);
uint64_t stage_count_indexed(void);
/* Any message at work. */
struct message_work *stage_find_work(void);

/* Waits until it is true, a minute at most. */
#define WAIT_FOR(condition) \
	do { \
		for (int tries = 0; tries < 6000 && !(condition); tries++) \
			CHECK_INT(fiber_sleep(duration_ms(10)), 0); \
		CHECK(condition); \
	} while (0)

#define MAIN "myhostname = mx.example.com\nmydestination =\nmaximal_backoff_time = 4000s\n"
