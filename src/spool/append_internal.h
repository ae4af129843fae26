/* SPDX-License-Identifier: Apache-2.0 */
/* What append.c and append_large.c share. */
#pragma once

#include <sys/uio.h>

#include "spool/append.h"

/* A segment that was granted; fd -1: none. */
struct open_segment {
	int fd;
	uint32_t number;
	uint32_t epoch;
	uint64_t size;
};

struct appender {
	struct append_owner owner;
	struct fiber *committer;
	struct open_segment current;
	struct open_segment next;
	uint64_t at;          /* where the next record of `current` goes */
	struct list waiting;  /* struct append_record */
	struct iovec *pieces; /* of the group under way */
	struct wait_list has_work;
	struct wait_list answer; /* to want_segment() */
	bool is_asked;
	int refused;
	struct instant ask_at; /* not before */
	bool wants_reset;
	bool is_stopped;
	struct wait_list reset_done;
	struct list larges; /* struct append_large that wait for their file */
	uint64_t last_token;
	size_t memory_max;
	size_t memory_used;
	struct list shares;            /* struct append_share */
	struct list memory_waiters;    /* in the order they came */
	struct wait_list memory_short; /* more than half is used, or somebody waits */
	bool was_memory_short;         /* somebody had to wait since more than half was used */
	struct fiber *mover;
};

/* One message on its way; lies on the stack of the fiber that waits for it. */
struct append_record {
	struct list link;
	struct record_head head;
	struct buf front; /* head, states, envelope */
	struct str content;
	uint64_t size; /* of the whole record */
	int result;
	bool is_over;
	struct wait_list over;
};

/* Encodes the envelope; all but the content's CRC and the size is then known. The caller ends r->front. */
[[nodiscard]] int append_record_init(struct append_record *r, const struct envelope *e, uint64_t content_size);
[[nodiscard]] int append_record_commit(struct appender *ap, struct append_record *r) WAITS;
/* The owner is new and knows nothing of what was asked. */
void append_large_ask_again(struct appender *ap);
/* Asks shares to move while memory is short. */
void append_memory_main(void *arg);
