/* SPDX-License-Identifier: Apache-2.0 */
/* Reading records through a window, so that small ones cost less than a system call each. */
#include "spool/scan.h"

#include <errno.h>

#include "base/base.h"
#include "base/encoding.h"
#include "spool/disk.h"

enum { WINDOW_SIZE = 64 << 10 };

void scan_init(struct scan *s, int fd, uint32_t epoch, uint64_t at, uint64_t to)
{
	*s = (struct scan){.fd = fd, .epoch = epoch, .at = at, .to = to, .may_block = true};
}

void scan_done(struct scan *s)
{
	free(s->window);
	s->window = NULL;
	s->window_size = s->window_len = 0;
}

void scan_forget(struct scan *s)
{
	s->window_len = 0;
}

/* Has bytes [at, at + len) in the window; they lie before s->to. */
static int scan_need(struct scan *s, uint64_t at, size_t len, char **ret_bytes)
{
	if (at < s->window_at || at + len > s->window_at + s->window_len) {
		size_t want = size_max(len, (size_t)(s->to - at < WINDOW_SIZE ? s->to - at : WINDOW_SIZE));
		int err;

		if (want > s->window_size) {
			s->window_size = size_max(want, WINDOW_SIZE);
			s->window = mem_resize(s->window, s->window_size);
		}
		s->window_len = 0;
		s->window_at = at;
		err = s->may_block ? disk_read(s->fd, s->window, want, at, &s->window_len)
		                   : disk_read_cached(s->fd, s->window, want, at, &s->window_len);
		if (err)
			return err;
		if (s->window_len < len)
			return -EBADMSG;
	}
	*ret_bytes = s->window + (at - s->window_at);
	return 0;
}

static int check_content(struct scan *s, const struct record_head *head)
{
	uint64_t at = s->at + record_content_at(head), left = head->large ? 0 : head->content_size;
	uint32_t crc = 0;

	if (head->large)
		return 0;
	while (left) {
		size_t len = (size_t)(left < WINDOW_SIZE ? left : WINDOW_SIZE);
		char *bytes;
		int err = scan_need(s, at, len, &bytes);

		if (err)
			return err;
		crc = crc32c(crc, bytes, len);
		at += len;
		left -= len;
	}
	return crc == head->content_crc ? 0 : -EBADMSG;
}

static int read_head(struct scan *s, struct record_head *ret_head)
{
	char *bytes;
	int err;

	if (s->at + RECORD_HEAD_SIZE > s->to)
		return -ENOENT;
	err = scan_need(s, s->at, RECORD_HEAD_SIZE, &bytes);
	if (!err)
		err = record_head_decode(str_n(bytes, RECORD_HEAD_SIZE), s->epoch, ret_head);
	if (!err && record_size(ret_head) > s->to - s->at)
		err = -EBADMSG;
	return err;
}

int scan_next(struct scan *s, struct scan_record *ret_record)
{
	struct record_head head;
	char *bytes = NULL;
	int err = read_head(s, &head);

	if (err)
		return err;
	if (s->checks_content)
		err = check_content(s, &head);
	if (!err)
		err = scan_need(s, s->at, (size_t)record_content_at(&head), &bytes);
	if (err)
		return err;

	struct str envelope = str_n(bytes + record_envelope_at(&head), head.envelope_size);

	if (record_check(str_n(bytes, RECORD_HEAD_SIZE), &head, envelope))
		return -EBADMSG;
	*ret_record = (struct scan_record){.head = head,
	                                   .at = s->at,
	                                   .size = record_size(&head),
	                                   .envelope = envelope,
	                                   .states = str_n(bytes + RECORD_HEAD_SIZE, head.recipient_count)};
	s->at += ret_record->size;
	return 0;
}

/* The next place that looks like a record of this epoch. -ENOENT: none. */
static int find_magic(struct scan *s)
{
	while (s->at + RECORD_HEAD_SIZE <= s->to) {
		size_t len = (size_t)(s->to - s->at < WINDOW_SIZE ? s->to - s->at : WINDOW_SIZE) & ~(size_t)7;
		char *bytes;
		int err = scan_need(s, s->at, len, &bytes);

		if (err)
			return err == -EBADMSG ? -ENOENT : err; /* the file is shorter than it says */
		for (size_t i = 0; i < len; i += 8) {
			if (record_may_begin(bytes + i, s->epoch)) {
				s->at += i;
				return 0;
			}
		}
		s->at += len;
	}
	return -ENOENT;
}

int scan_skip(struct scan *s)
{
	struct scan_record record;
	int err = -EBADMSG;

	while (err == -EBADMSG) {
		s->at += 8;
		err = find_magic(s);
		if (!err)
			err = scan_next(s, &record);
	}
	if (!err)
		s->at = record.at;
	else if (err == -ENOENT)
		s->at = s->to;
	return err;
}
