/* SPDX-License-Identifier: Apache-2.0 */
/* Heads of segments and records as bytes; the format stands in segment.h. */
#include "spool/segment.h"

#include <errno.h>

#include "base/buf.h"
#include "base/encoding.h"

static const char segment_magic[8] = "PRSEG01\n";

enum { RECORD_MAGIC = 0x63725250 /* "PRrc" */, SEGMENT_CRC_AT = 24, CONTENT_CRC_AT = 32, RECORD_CRC_AT = 36 };

static void put_u32(char *to, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		to[i] = (char)(value >> (8 * i));
}

static void put_u64(char *to, uint64_t value)
{
	put_u32(to, (uint32_t)value);
	put_u32(to + 4, (uint32_t)(value >> 32));
}

static uint64_t round_up(uint64_t size)
{
	return (size + 7) & ~(uint64_t)7;
}

void segment_head_encode(char *to, const struct segment_head *head)
{
	memset(to, 0, SEGMENT_HEAD_SIZE);
	memcpy(to, segment_magic, sizeof segment_magic);
	put_u32(to + 8, head->segment);
	put_u32(to + 12, head->epoch);
	put_u64(to + 16, head->size);
	put_u32(to + SEGMENT_CRC_AT, crc32c(0, to, SEGMENT_CRC_AT));
}

int segment_head_decode(struct str bytes, struct segment_head *ret_head)
{
	struct cursor c = {.rest = bytes};
	struct str magic = cursor_bytes(&c, sizeof segment_magic);
	struct segment_head head = {0};
	uint32_t crc;

	head.segment = cursor_u32(&c);
	head.epoch = cursor_u32(&c);
	head.size = cursor_u64(&c);
	crc = cursor_u32(&c);
	if (c.is_bad || !str_eq(magic, str_n(segment_magic, sizeof segment_magic)) || crc != crc32c(0, bytes.ptr, SEGMENT_CRC_AT))
		return -EBADMSG;
	if (head.size < SEGMENT_HEAD_SIZE)
		return -EBADMSG;
	*ret_head = head;
	return 0;
}

void record_head_encode(char *to, const struct record_head *head, struct str envelope)
{
	memset(to, 0, RECORD_HEAD_SIZE);
	put_u32(to, RECORD_MAGIC);
	put_u32(to + 4, head->epoch);
	put_u32(to + 8, head->envelope_size);
	put_u32(to + 12, head->recipient_count);
	put_u64(to + 16, head->content_size);
	put_u64(to + 24, head->large);
	put_u32(to + CONTENT_CRC_AT, head->content_crc);
	put_u32(to + RECORD_CRC_AT, crc32c(crc32c(0, to, RECORD_CRC_AT), envelope.ptr, envelope.len));
	to[RECORD_STATE_AT] = (char)head->state;
}

bool record_may_begin(const char *bytes, uint32_t epoch)
{
	char begin[8];

	put_u32(begin, RECORD_MAGIC);
	put_u32(begin + 4, epoch);
	return !memcmp(bytes, begin, sizeof begin);
}

int record_head_decode(struct str bytes, uint32_t epoch, struct record_head *ret_head)
{
	struct cursor c = {.rest = bytes};
	uint32_t magic = cursor_u32(&c);
	struct record_head head = {0};

	head.epoch = cursor_u32(&c);
	head.envelope_size = cursor_u32(&c);
	head.recipient_count = cursor_u32(&c);
	head.content_size = cursor_u64(&c);
	head.large = cursor_u64(&c);
	head.content_crc = cursor_u32(&c);
	head.crc = cursor_u32(&c);
	head.state = cursor_u8(&c);
	if (c.is_bad || magic != RECORD_MAGIC || head.epoch != epoch)
		return -EBADMSG;
	if (head.envelope_size > RECORD_ENVELOPE_MAX || head.recipient_count > RECORD_RECIPIENTS_MAX)
		return -EBADMSG;
	if (!head.large && head.content_size > RECORD_CONTENT_MAX)
		return -EBADMSG;
	*ret_head = head;
	return 0;
}

int record_check(struct str head_bytes, const struct record_head *head, struct str envelope)
{
	uint32_t crc = crc32c(0, head_bytes.ptr, RECORD_CRC_AT);

	return crc32c(crc, envelope.ptr, envelope.len) == head->crc ? 0 : -EBADMSG;
}

uint64_t record_envelope_at(const struct record_head *head)
{
	return round_up(RECORD_HEAD_SIZE + (uint64_t)head->recipient_count);
}

uint64_t record_content_at(const struct record_head *head)
{
	return record_envelope_at(head) + head->envelope_size;
}

uint64_t record_size(const struct record_head *head)
{
	return round_up(record_content_at(head) + (head->large ? 0 : head->content_size));
}
