/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mailbox locks, so that mail readers and we do not write at once: kernel locks on the
 * open file, and NAME.lock beside it for programs that know only that.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "role/local/work.h"

/* 0, -EAGAIN when somebody else holds it, or another error. */
static int lock_kernel(int fd, unsigned flags)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	/* Locks of the open file, not of the process: our own threads must exclude each other. */
	if ((flags & WORK_LOCK_FCNTL) && fcntl(fd, F_OFD_SETLK, &whole) != 0)
		return errno == EACCES ? -EAGAIN : -errno;
	if ((flags & WORK_LOCK_FLOCK) && flock(fd, LOCK_EX | LOCK_NB) != 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	return 0;
}

static void remove_if_stale(const char *path, unsigned stale_s)
{
	struct stat st;

	if (stat(path, &st) == 0 && st.st_mtime + (time_t)stale_s < time(NULL))
		(void)unlink(path);
}

static int make_dotlock(const char *path, unsigned stale_s)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0 && errno == EEXIST) {
		remove_if_stale(path, stale_s);
		return -EAGAIN;
	}
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static int try_lock(struct mailbox_lock *l, int fd, const struct message_work_mailbox *m, char *dotlock)
{
	int err = 0;

	if (m->flags & WORK_LOCK_DOTLOCK)
		err = make_dotlock(dotlock, m->stale_lock);
	if (err)
		return err;
	err = lock_kernel(fd, m->flags);
	if (err && (m->flags & WORK_LOCK_DOTLOCK))
		(void)unlink(dotlock);
	if (!err && (m->flags & WORK_LOCK_DOTLOCK))
		l->dotlock = dotlock;
	return err;
}

int mailbox_lock(struct mailbox_lock *l, int fd, const struct message_work_mailbox *m, struct work_result *r)
{
	struct buf path = BUF_INIT(8192);
	char *dotlock;
	int err = -EAGAIN;

	l->dotlock = NULL;
	buf_addf(&path, "%.*s.lock", STR_ARG(m->path));
	dotlock = buf_take(&path);
	for (unsigned i = 0; err == -EAGAIN && i < (m->lock_attempts > 0 ? m->lock_attempts : 1); i++) {
		if (i > 0)
			(void)sleep(m->lock_delay);
		err = try_lock(l, fd, m, dotlock);
	}
	if (err == -EAGAIN)
		work_say(r, "4.2.0", "unable to lock %.*s for exclusive access: it is in use", STR_ARG(m->path));
	else if (err)
		work_say(r, "4.2.0", "unable to create lock file %s: %s", dotlock, strerror(-err));
	if (!l->dotlock)
		free(dotlock);
	return err;
}

void mailbox_unlock(struct mailbox_lock *l)
{
	if (l->dotlock)
		(void)unlink(l->dotlock);
	free(l->dotlock);
	l->dotlock = NULL;
}
