/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queue ids that look like Postfix's long ones: seconds and microseconds of arrival in
 * base 52 without vowels, a "z", and a tail in base 51. The tail holds the number of
 * the process in the place of an inode, so ids differ between processes; within one
 * process no two ids have the same microsecond.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/str.h"
#include "mail/envelope.h"

struct queue_id_maker {
	uint64_t tail;   /* the process number */
	int64_t last_us; /* of the latest id */
};

/* Writes a fresh id, NUL-terminated. */
void queue_id_make(struct queue_id_maker *m, struct wall_time now, char ret_id[QUEUE_ID_SIZE]);
/* Letters and digits only, 5 bytes at least: safe in logs, file names and replies. */
bool queue_id_is_valid(struct str id);
