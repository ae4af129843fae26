/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A segment with any bytes in it is scanned to its end, over every hole, without reading outside of it;
 * whatever counts as a record must encode to the same head again. The first 4 bytes are the epoch.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/base.h"
#include "spool/disk.h"
#include "spool/row.h"
#include "spool/scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_record(const struct scan_record *r)
{
	char head[RECORD_HEAD_SIZE];
	struct record_head again;
	struct spool_message *m;
	struct record_ref ref = {.segment = 1, .epoch = r->head.epoch, .at = r->at};

	record_head_encode(head, &r->head, r->envelope);
	if (record_head_decode(str_n(head, sizeof head), r->head.epoch, &again) || again.crc != r->head.crc)
		die("a record's head does not come back");
	if (r->states.len != r->head.recipient_count || r->size % 8)
		die("a record of a wrong shape");
	if (!message_from_record(&ref, &r->head, r->states, r->envelope, &m)) {
		if (m->pending_count > m->envelope.recipient_count)
			die("more recipients pending than there are");
		message_free(m);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct segment_head head;
	struct scan_record r;
	struct scan s;
	uint32_t epoch = 0;
	int err = 0, fd;

	if (size < 4)
		return 0;
	memcpy(&epoch, data, 4);
	(void)!segment_head_decode(str_n((const char *)data, size), &head);
	fd = memfd_create("segment", MFD_CLOEXEC);
	if (fd < 0 || disk_write(fd, data + 4, size - 4, 0))
		die("no memory file");
	scan_init(&s, fd, epoch, 0, size - 4);
	s.checks_content = size % 2;
	while (!err) {
		uint64_t at = s.at;

		err = scan_next(&s, &r);
		if (!err)
			check_record(&r);
		else if (err == -EBADMSG)
			err = scan_skip(&s);
		if (!err && s.at <= at)
			die("a scan does not move");
	}
	if (s.at > size - 4)
		die("a scan leaves its segment");
	scan_done(&s);
	close(fd);
	return 0;
}
