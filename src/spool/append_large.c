/* SPDX-License-Identifier: Apache-2.0 */
/* Messages too long for a record: the content goes to a file of its own, a record refers to it. */
#include <errno.h>
#include <unistd.h>

#include "base/encoding.h"
#include "spool/append_internal.h"
#include "spool/disk.h"

enum { GRANT_WAIT_S = 10 };

struct append_large {
	struct appender *ap;
	struct list link; /* in appender.larges while it waits for its file */
	struct wait_list answer;
	uint64_t token;
	bool is_answered;
	int err;
	int fd;
	uint64_t number;
	uint64_t size;
	uint32_t crc;
};

static struct append_large *find_token(struct appender *ap, uint64_t token)
{
	LIST_EACH(&ap->larges, it) {
		struct append_large *l = LIST_ENTRY(it, struct append_large, link);

		if (l->token == token)
			return l;
	}
	return NULL;
}

static void answer(struct append_large *l, int fd, uint64_t number, int err)
{
	list_remove(&l->link);
	l->fd = fd;
	l->number = number;
	l->err = err;
	l->is_answered = true;
	wait_list_wake_all(&l->answer);
}

void appender_large_grant(struct appender *ap, uint64_t token, int fd, uint64_t number)
{
	struct append_large *l = find_token(ap, token);

	if (l) {
		answer(l, fd, number, 0);
		return;
	}
	close(fd);
	ap->owner.drop_large(ap->owner.arg, number);
}

void appender_large_refuse(struct appender *ap, uint64_t token, int error)
{
	struct append_large *l = find_token(ap, token);

	if (l)
		answer(l, -1, 0, error > 0 ? -error : -EIO);
}

void append_large_ask_again(struct appender *ap)
{
	LIST_EACH(&ap->larges, it)
		ap->owner.want_large(ap->owner.arg, LIST_ENTRY(it, struct append_large, link)->token);
}

int appender_large_open(struct appender *ap, struct append_large **ret_large)
{
	struct instant deadline = clock_deadline(duration_s(GRANT_WAIT_S));
	struct append_large *l;
	int err = 0;

	if (!ap->owner.want_large)
		return -EFBIG;
	l = mem_alloc(sizeof *l);
	*l = (struct append_large){.ap = ap, .token = ++ap->last_token, .fd = -1};
	wait_list_init(&l->answer);
	list_add(&ap->larges, &l->link);
	ap->owner.want_large(ap->owner.arg, l->token);
	while (!err && !l->is_answered)
		err = wait_list_wait(&l->answer, deadline);
	if (!err)
		err = l->err;
	if (err) {
		append_large_abort(l);
		return err;
	}
	*ret_large = l;
	return 0;
}

struct write_job {
	int fd;
	struct str bytes;
	uint64_t at;
	bool is_last; /* sync */
	int err;
};

static void write_run(void *arg)
{
	struct write_job *j = arg;

	j->err = disk_write(j->fd, j->bytes.ptr, j->bytes.len, j->at);
	if (!j->err && j->is_last)
		j->err = disk_sync(j->fd);
}

static int run(struct append_large *l, struct str bytes, bool is_last)
{
	struct write_job j = {.fd = l->fd, .bytes = bytes, .at = l->size, .is_last = is_last};
	int err = fiber_work(write_run, &j);

	return j.err ? j.err : err;
}

int append_large_write(struct append_large *l, struct str bytes)
{
	int err = run(l, bytes, false);

	if (err)
		return err;
	l->crc = crc32c(l->crc, bytes.ptr, bytes.len);
	l->size += bytes.len;
	return 0;
}

int append_large_commit(struct append_large *l, const struct envelope *e)
{
	struct append_record r = {.head = {.large = l->number}};
	int err = append_record_init(&r, e, l->size);

	if (!err)
		err = run(l, STR(""), true);
	if (!err) {
		r.head.content_crc = l->crc;
		r.size = record_size(&r.head);
		err = append_record_commit(l->ap, &r);
	}
	buf_done(&r.front);
	if (!err) {
		close(l->fd);
		free(l);
	} else {
		append_large_abort(l);
	}
	return err;
}

void append_large_abort(struct append_large *l)
{
	if (!l)
		return;
	list_remove(&l->link);
	if (l->fd >= 0) {
		close(l->fd);
		l->ap->owner.drop_large(l->ap->owner.arg, l->number);
	}
	free(l);
}
