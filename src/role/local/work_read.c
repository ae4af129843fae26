/* SPDX-License-Identifier: Apache-2.0 */
/* Reading of .forward and :include: files, and what the results of work have in common. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include "role/local/work.h"

enum { TEXT_MAX = 8192, FILE_MAX = 4 << 20 };

void work_result_init(struct work_result *r)
{
	*r = (struct work_result){
		.status = DELIVERY_DEFERRED, .dsn = "4.3.0", .text = BUF_INIT(TEXT_MAX), .data = BUF_INIT(FILE_MAX)};
}

void work_result_done(struct work_result *r)
{
	buf_done(&r->text);
	buf_done(&r->data);
}

void work_say(struct work_result *r, const char *dsn, const char *fmt, ...)
{
	va_list args;

	snprintf(r->dsn, sizeof(r->dsn), "%s", dsn);
	r->status = dsn[0] == '2' ? DELIVERY_SENT : dsn[0] == '5' ? DELIVERY_BOUNCED : DELIVERY_DEFERRED;
	buf_reset(&r->text);
	va_start(args, fmt);
	buf_vaddf(&r->text, fmt, args);
	va_end(args);
}

void work_say_errno(struct work_result *r, int error, const char *fmt, ...)
{
	va_list args;
	const char *dsn = "5.2.0";

	switch (error) {
	case EAGAIN:
	case ESTALE:
		dsn = "4.2.0";
		break;
	case ENOSPC:
	case EIO:
		dsn = "4.3.0";
		break;
	case EDQUOT:
	case EFBIG:
		dsn = "5.2.2";
		break;
	}
	work_say(r, dsn, " ");
	buf_reset(&r->text);
	va_start(args, fmt);
	buf_vaddf(&r->text, fmt, args);
	va_end(args);
}

static int read_all(int fd, struct buf *to)
{
	for (;;) {
		char *room = buf_room(to, 8192);
		ssize_t got;

		if (!room)
			return -EFBIG;
		got = read(fd, room, 8192);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : 0;
		buf_added(to, (size_t)got);
	}
}

/* A file that others may write is not the user's word. */
static int check_file(const struct stat *st, unsigned flags)
{
	if (!S_ISREG(st->st_mode))
		return -EINVAL;
	if (!(flags & WORK_TRUSTED_FILE) && st->st_uid != 0 && st->st_uid != geteuid())
		return -EPERM;
	return st->st_mode & 002 ? -EPERM : 0;
}

void work_read(const struct message_work_read *m, struct work_result *r)
{
	char *path = str_cstr(m->path);
	int err = 0, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0)
		err = -errno;
	if (!err)
		err = check_file(&st, m->flags);
	if (!err)
		err = read_all(fd, &r->data);
	if (fd >= 0)
		close(fd);
	r->error = -err;
	if (!err)
		r->status = DELIVERY_SENT;
	free(path);
}
