/* SPDX-License-Identifier: Apache-2.0 */
/* Walks over the records of a segment, one after the other, checking what it reads. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "spool/segment.h"

struct scan {
	int fd;
	uint32_t epoch;
	uint64_t at; /* of the next record */
	uint64_t to; /* records end before it */
	bool checks_content;
	bool may_block;     /* else -EAGAIN when the disk would have to be asked */
	char *window;       /* bytes of the segment from window_at on */
	size_t window_size; /* allocated */
	size_t window_len;  /* read */
	uint64_t window_at;
};

/* Views into the window, valid until the next call. */
struct scan_record {
	struct record_head head;
	uint64_t at;
	uint64_t size;
	struct str states;
	struct str envelope;
};

void scan_init(struct scan *s, int fd, uint32_t epoch, uint64_t at, uint64_t to);
void scan_done(struct scan *s);
/*
 * The record at s->at, and moves behind it. -ENOENT: the end is reached; -EBADMSG: no whole, undamaged record stands
 * here; -EAGAIN; -EIO and the like. Failures move nothing.
 */
[[nodiscard]] int scan_next(struct scan *s, struct scan_record *ret_record);
/* After -EBADMSG: moves to the next whole record. -ENOENT when there is none; s->at is then s->to. */
[[nodiscard]] int scan_skip(struct scan *s);
/* Forgets bytes that were read: the file may have changed. */
void scan_forget(struct scan *s);
