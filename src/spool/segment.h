/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A segment of the spool: one preallocated file that takes records one after the
 * other and is used again when no record in it is alive.
 *
 *	segment head, 4096 bytes
 *	     0  8   "PRSEG01\n"
 *	     8  u32 segment number
 *	    12  u32 epoch: a random number for each use of this file
 *	    16  u64 size of the file
 *	    24  u32 CRC-32C of bytes 0-23
 *
 *	record, aligned to 8
 *	     0  u32 magic "PRrc"
 *	     4  u32 epoch of the segment
 *	     8  u32 envelope size
 *	    12  u32 number of recipients
 *	    16  u64 content size
 *	    24  u64 large file number; 0 when the content stands in the record
 *	    32  u32 CRC-32C of the content, wherever it stands
 *	    36  u32 CRC-32C of bytes 0-35 and the envelope
 *	    40  u8  record state (enum record_state), outside the checksums
 *	    41  u8  0 x 7
 *	    48  u8  x recipients: recipient state (enum recipient_state), outside the checksums
 *	        zeros up to a multiple of 8
 *	        envelope, content, zeros up to a multiple of 8
 *
 * The state bytes are the only ones ever written twice, each alone, by the owner: so a
 * crash leaves every one of them old or new. Receivers append in order and whole
 * groups at a time, and acknowledge after fdatasync(); the first record that does not
 * check out is the end of what was ever acknowledged.
 *
 * What an earlier use left behind the end may be any bytes that a stranger sent as mail,
 * a well-formed record among them. It cannot pass for one of this use, because nobody
 * outside can know the epoch.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

enum record_state { RECORD_LIVE = 0, RECORD_INDEXED = 'I', RECORD_DONE = 'D' };
enum recipient_state { RECIPIENT_PENDING = 0, RECIPIENT_DONE = 'D' };

enum { SEGMENT_HEAD_SIZE = 4096, RECORD_HEAD_SIZE = 48, RECORD_STATE_AT = 40, SEGMENT_SIZE_DEFAULT = 64 << 20 };
/* The most that one record takes of a segment; what is longer goes to a large file. */
enum { RECORD_CONTENT_MAX = 4 << 20, RECORD_ENVELOPE_MAX = 8 << 20, RECORD_RECIPIENTS_MAX = 100000 };

/* Where a record lies. */
struct record_ref {
	uint32_t segment;
	uint32_t epoch;
	uint64_t at; /* offset of the record's head */
};

/* The fixed part of a record, decoded. */
struct record_head {
	uint32_t epoch;
	uint32_t envelope_size;
	uint32_t recipient_count;
	uint64_t content_size;
	uint64_t large;
	uint32_t content_crc;
	uint32_t crc;
	uint8_t state; /* enum record_state */
};

struct segment_head {
	uint32_t segment;
	uint32_t epoch;
	uint64_t size;
};

/* Writes `head` to the first SEGMENT_HEAD_SIZE bytes of a segment. */
void segment_head_encode(char *to, const struct segment_head *head);
/* -EBADMSG on anything else than what segment_head_encode() wrote. */
[[nodiscard]] int segment_head_decode(struct str bytes, struct segment_head *ret_head);

/* Writes a head of RECORD_HEAD_SIZE bytes; computes its CRC over head and envelope. */
void record_head_encode(char *to, const struct record_head *head, struct str envelope);
/* A quick look at 8 bytes: can a record of this epoch begin with them? */
bool record_may_begin(const char *bytes, uint32_t epoch);
/* Checks magic, epoch and sizes, not the CRC. -EBADMSG: no record of this epoch begins here. */
[[nodiscard]] int record_head_decode(struct str bytes, uint32_t epoch, struct record_head *ret_head);
/* `head_bytes` are the RECORD_HEAD_SIZE bytes that gave `head`. -EBADMSG when the CRC differs. */
[[nodiscard]] int record_check(struct str head_bytes, const struct record_head *head, struct str envelope);

/* Offsets from the record's head, and the whole size with the zeros behind it. */
uint64_t record_envelope_at(const struct record_head *head);
uint64_t record_content_at(const struct record_head *head);
uint64_t record_size(const struct record_head *head);
