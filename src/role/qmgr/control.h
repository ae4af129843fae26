/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of commands: control.c answers them, listing.c writes the long answer of mailq. */
#pragma once

#include "role/qmgr/qmgr.h"

enum queue_change {
	CHANGE_HOLD,
	CHANGE_RELEASE,
	CHANGE_DELETE,
	CHANGE_REQUEUE,
	CHANGE_EXPIRE,
	CHANGE_EXPIRE_RELEASE, /* and out of hold */
	CHANGE_RETRY,
};

/* Queue ids, copied: the messages may go while one walks. Free `ids`. */
struct queue_ids {
	struct {
		char id[QUEUE_ID_SIZE];
	} * ids;
	size_t count;
};

struct queue_ids queue_ids_at_work(const struct qmgr *q);
/* All messages as QUEUE_ITEM and QUEUE_RECIPIENT, at the speed of the reader. */
[[nodiscard]] int listing_send(struct qmgr *q, struct channel *ch, uint64_t *ret_count) WAITS;
