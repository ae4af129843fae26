/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A row of the index: a head of fixed size, which is patched in place, then the envelope
 * and what became of each recipient. Also the message in memory, made from a row or a record.
 *
 *	u8 version, u32 segment, u32 epoch, u64 at, u64 record size, u64 large, u64 content_at,
 *	u64 next attempt, u64 deferred at (microseconds), u32 attempts, u32 flags,
 *	lstr envelope, u32 recipients, each: u8 state, lstr dsn, text, mta, diagnostic
 */
#pragma once

#include "base/buf.h"
#include "spool/owner.h"
#include "spool/segment.h"

enum { ROW_HEAD_SIZE = 65, ROW_SIZE_MAX = 256 << 20 };

struct row_head {
	struct record_ref ref;
	uint64_t size; /* of the record, in its segment */
	uint64_t large;
	uint64_t content_at;
	struct wall_time next_attempt;
	struct wall_time deferred_at;
	uint32_t attempts;
	uint32_t flags;
};

void row_head_encode(struct buf *to, const struct row_head *head);
/* -EBADMSG on anything too short or of another version. */
[[nodiscard]] int row_head_decode(struct str row, struct row_head *ret_head);
/* The whole row of a message that is to be deferred; sets head->size. */
void row_encode(struct buf *to, struct row_head *head, const struct spool_message *m);
/* A new message; owns a copy of the bytes. */
[[nodiscard]] int row_decode(struct str row, struct spool_message **ret_message);

/* A new message from the parts of a record. `states` are the recipients' state bytes. -EBADMSG, -EINVAL: no such envelope. */
[[nodiscard]] int message_from_record(const struct record_ref *ref, const struct record_head *head, struct str states,
                                      struct str envelope, struct spool_message **ret_message);
/* Takes over what the record's state bytes say. */
void message_apply_states(struct spool_message *m, struct str states);
void message_free(struct spool_message *m);
