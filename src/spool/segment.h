/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A segment of the spool: one preallocated file that takes records one after the
 * other and is used again when no record in it is alive.
 *
 *	segment head, 4096 bytes
 *	     0  8   "PRSEG01\n"
 *	     8  u32 segment number
 *	    12  u32 epoch: counts the uses of this file, so that records of an earlier use end a scan
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
 *	    32  u32 CRC-32C of bytes 0-31, envelope and content (a large file has its own, in the envelope's place)
 *	    36  u8  record state (enum record_state), outside the checksum
 *	    37  u8  0 x 3
 *	    40  u8  x recipients: recipient state (enum recipient_state), outside the checksum
 *	        zeros up to a multiple of 8
 *	        envelope, content, zeros up to a multiple of 8
 *
 * The state bytes are the only ones ever written twice, each alone, by the owner: so a
 * crash leaves every one of them old or new. Receivers append in order and whole
 * groups at a time, and acknowledge after fdatasync(); the first record that does not
 * check out is the end of what was ever acknowledged.
 */
#pragma once

#include <stdint.h>

#include "base/str.h"

enum record_state { RECORD_LIVE = 0, RECORD_INDEXED = 'I', RECORD_DONE = 'D' };
enum recipient_state { RECIPIENT_PENDING = 0, RECIPIENT_DONE = 'D' };

enum { SEGMENT_HEAD_SIZE = 4096, RECORD_HEAD_SIZE = 40, SEGMENT_SIZE_DEFAULT = 64 << 20 };

/* Where a record lies. */
struct record_ref {
	uint32_t segment;
	uint32_t epoch;
	uint64_t at; /* offset of the record's head */
};
