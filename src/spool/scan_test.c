/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/encoding.h"
#include "check.h"
#include "spool/disk.h"

enum { EPOCH = 0x5eed1234, FILE_SIZE = 65536 };

/* A record of two recipients with this envelope and content. */
static void add_record(struct buf *to, uint32_t epoch, struct str envelope, struct str content)
{
	struct record_head head = {.epoch = epoch,
	                           .envelope_size = (uint32_t)envelope.len,
	                           .recipient_count = 2,
	                           .content_size = content.len,
	                           .content_crc = crc32c(0, content.ptr, content.len)};
	size_t size = (size_t)record_size(&head);
	char *bytes = buf_room(to, size);

	memset(bytes, 0, size);
	record_head_encode(bytes, &head, envelope);
	memcpy(bytes + record_envelope_at(&head), envelope.ptr, envelope.len);
	memcpy(bytes + record_content_at(&head), content.ptr, content.len);
	buf_added(to, size);
}

static int file_of(struct buf *bytes)
{
	char path[128];
	int fd;

	snprintf(path, sizeof path, "%s/segment", check_folder());
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	CHECK_INT(disk_write(fd, bytes->ptr, bytes->len, 0), 0);
	CHECK_INT(ftruncate(fd, FILE_SIZE), 0);
	return fd;
}

static void begin(struct scan *s, struct buf *bytes)
{
	scan_init(s, file_of(bytes), EPOCH, 0, FILE_SIZE);
	s->checks_content = true;
}

static void end(struct scan *s, struct buf *bytes)
{
	close(s->fd);
	scan_done(s);
	buf_done(bytes);
}

TEST(records_come_in_their_order_until_the_end)
{
	struct buf b = BUF_INIT(FILE_SIZE);
	struct scan_record r;
	struct scan s;

	add_record(&b, EPOCH, STR("first"), STR("content\r\n"));
	add_record(&b, EPOCH, STR("second"), STR(""));
	begin(&s, &b);
	CHECK_INT(scan_next(&s, &r), 0);
	CHECK_STR(r.envelope, STR("first"));
	CHECK_INT(r.states.len, 2);
	CHECK_INT(scan_next(&s, &r), 0);
	CHECK_STR(r.envelope, STR("second"));
	CHECK_INT(scan_next(&s, &r), -EBADMSG);
	CHECK_INT(s.at, (long long)b.len);
	s.to = b.len;
	CHECK_INT(scan_next(&s, &r), -ENOENT);
	end(&s, &b);
}

TEST(any_changed_byte_but_a_state_is_noticed)
{
	struct buf b = BUF_INIT(FILE_SIZE);
	struct scan_record r;
	struct scan s;
	int fd;

	add_record(&b, EPOCH, STR("envelope"), STR("some content\r\n"));
	fd = file_of(&b);
	for (size_t i = 0; i < RECORD_HEAD_SIZE + 8 +
	                               strlen("envelope"
	                                      "some content\r\n");
	     i++) {
		bool is_state = i >= RECORD_STATE_AT && i < RECORD_HEAD_SIZE + 8;
		char flipped = (char)(b.ptr[i] ^ 1);

		CHECK_INT(disk_write(fd, &flipped, 1, i), 0);
		scan_init(&s, fd, EPOCH, 0, FILE_SIZE);
		s.checks_content = true;
		CHECK_INT(scan_next(&s, &r), is_state ? 0 : -EBADMSG);
		scan_done(&s);
		CHECK_INT(disk_write(fd, b.ptr + i, 1, i), 0);
	}
	close(fd);
	buf_done(&b);
}

TEST(a_hole_is_skipped_and_what_is_behind_it_found)
{
	struct buf b = BUF_INIT(FILE_SIZE);
	struct scan_record r;
	struct scan s;
	size_t hole;

	add_record(&b, EPOCH, STR("first"), STR("1"));
	hole = b.len;
	add_record(&b, EPOCH, STR("damaged"), STR("2"));
	b.ptr[hole + 60] ^= 1;
	add_record(&b, EPOCH, STR("third"), STR("3"));
	begin(&s, &b);
	CHECK_INT(scan_next(&s, &r), 0);
	CHECK_INT(scan_next(&s, &r), -EBADMSG);
	CHECK_INT(scan_skip(&s), 0);
	CHECK_INT(scan_next(&s, &r), 0);
	CHECK_STR(r.envelope, STR("third"));
	CHECK_INT(scan_next(&s, &r), -EBADMSG);
	CHECK_INT(scan_skip(&s), -ENOENT);
	CHECK_INT(s.at, FILE_SIZE);
	end(&s, &b);
}

TEST(a_record_that_a_stranger_sent_as_content_is_none)
{
	struct buf b = BUF_INIT(FILE_SIZE), forged = BUF_INIT(FILE_SIZE);
	struct scan_record r;
	struct scan s;

	add_record(&forged, EPOCH + 1, STR("forged"), STR("evil"));
	add_record(&b, EPOCH, STR("real"), STR("real"));
	buf_add(&b, buf_str(&forged)); /* the rest of an earlier use */
	begin(&s, &b);
	CHECK_INT(scan_next(&s, &r), 0);
	CHECK_INT(scan_next(&s, &r), -EBADMSG);
	CHECK_INT(scan_skip(&s), -ENOENT);
	buf_done(&forged);
	end(&s, &b);
}

TEST(a_record_longer_than_the_window_is_read_whole)
{
	struct buf b = BUF_INIT(FILE_SIZE * 8), envelope = BUF_INIT(FILE_SIZE * 4);
	struct scan_record r;
	struct scan s;
	char *room = buf_room(&envelope, 100000);

	memset(room, 'e', 100000);
	buf_added(&envelope, 100000);
	add_record(&b, EPOCH, buf_str(&envelope), buf_str(&envelope));
	begin(&s, &b);
	CHECK_INT(ftruncate(s.fd, (off_t)b.len), 0);
	CHECK_INT(disk_write(s.fd, b.ptr, b.len, 0), 0);
	s.to = b.len;
	CHECK_INT(scan_next(&s, &r), 0);
	CHECK_INT((long long)r.envelope.len, 100000);
	CHECK_INT(scan_next(&s, &r), -ENOENT);
	buf_done(&envelope);
	end(&s, &b);
}

TEST(a_segment_head_comes_back_or_is_refused)
{
	char bytes[SEGMENT_HEAD_SIZE];
	struct segment_head head = {.segment = 7, .epoch = 9, .size = FILE_SIZE}, got;

	segment_head_encode(bytes, &head);
	CHECK_INT(segment_head_decode(str_n(bytes, sizeof bytes), &got), 0);
	CHECK(got.segment == 7 && got.epoch == 9 && got.size == FILE_SIZE);
	bytes[13] ^= 1;
	CHECK_INT(segment_head_decode(str_n(bytes, sizeof bytes), &got), -EBADMSG);
	CHECK_INT(segment_head_decode(str_n(bytes, 27), &got), -EBADMSG);
}
