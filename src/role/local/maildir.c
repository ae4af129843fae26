/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delivery to a Maildir: a file in tmp, synced, then moved to new, and the folder synced.
 * A Maildir that is not there is made.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "role/local/group_sync.h"
#include "role/local/work.h"

/* Paths and the open file of one delivery. */
struct delivery {
	struct buf folder; /* ends in "/" */
	struct buf tmp;
	struct buf new;
	int fd;
};

static const char *host_name(void)
{
	static char name[256];

	/* Every thread writes the same bytes. */
	if (!name[0] && gethostname(name, sizeof(name) - 1) != 0)
		snprintf(name, sizeof(name), "localhost");
	return name;
}

static int sync_folder(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = fd < 0 || fsync(fd) != 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return err;
}

/* Every missing folder of the path, each made durable in its parent. */
static int make_folders(char *path)
{
	for (char *at = path + 1; *at; at++) {
		char *slash;
		int err = 0;

		if (*at != '/')
			continue;
		*at = '\0';
		if (mkdir(path, 0700) == 0) {
			slash = strrchr(path, '/');
			*slash = '\0';
			err = sync_folder(slash == path ? "/" : path);
			*slash = '/';
		} else if (errno != EEXIST) {
			err = -errno;
		}
		*at = '/';
		if (err)
			return err;
	}
	return 0;
}

/* tmp comes last: whoever finds it finds the others. */
static int make_maildir(const struct buf *folder)
{
	static const char *const parts[] = {"new/", "cur/", "tmp/"};
	int err = 0;

	for (size_t i = 0; !err && i < COUNT_OF(parts); i++) {
		struct buf path = BUF_INIT(8192);

		buf_add(&path, buf_str(folder));
		buf_add(&path, str_of(parts[i]));
		err = make_folders(path.ptr);
		buf_done(&path);
	}
	return err;
}

static int open_tmp(struct delivery *d, struct wall_time now)
{
	static atomic_uint counter;

	buf_addf(&d->tmp, "%.*stmp/%lld.P%dQ%u.%s", STR_ARG(buf_str(&d->folder)), (long long)(now.us / 1000000), (int)getpid(),
	         atomic_fetch_add(&counter, 1), host_name());
	d->fd = open(buf_cstr(&d->tmp), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (d->fd < 0 && errno == ENOENT) {
		int err = make_maildir(&d->folder);

		if (err)
			return err;
		d->fd = open(buf_cstr(&d->tmp), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	}
	return d->fd < 0 ? -errno : 0;
}

/* Device and inode make the name unique; nothing of that name is there unless the clock went back. */
static int move_to_new(struct delivery *d, struct wall_time now)
{
	struct stat st;

	if (fstat(d->fd, &st) != 0)
		return -errno;
	buf_addf(&d->new, "%.*snew/%lld.V%llxI%llxM%06lld.%s", STR_ARG(buf_str(&d->folder)), (long long)(now.us / 1000000),
	         (unsigned long long)st.st_dev, (unsigned long long)st.st_ino, (long long)(now.us % 1000000), host_name());
	if (renameat2(AT_FDCWD, buf_cstr(&d->tmp), AT_FDCWD, buf_cstr(&d->new), RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	/* A file system without that call: link() does not replace either. */
	if (link(buf_cstr(&d->tmp), buf_cstr(&d->new)) != 0)
		return -errno;
	(void)unlink(buf_cstr(&d->tmp));
	return 0;
}

static int sync_new(struct delivery *d)
{
	struct buf path = BUF_INIT(8192);
	int fd, err;

	buf_addf(&path, "%.*snew", STR_ARG(buf_str(&d->folder)));
	fd = open(buf_cstr(&path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = fd < 0 ? -errno : group_sync(fd);
	if (fd >= 0)
		close(fd);
	buf_done(&path);
	return err;
}

static void deliver(struct delivery *d, const struct message_work_mailbox *m, const struct work_content *c, struct work_result *r)
{
	struct wall_time now = clock_wall();
	int err = open_tmp(d, now);

	if (err) {
		work_say(r, "4.2.0", "maildir delivery failed: create maildir file %s: %s", buf_cstr(&d->tmp), strerror(-err));
		return;
	}
	if (m->limit > 0 && m->head.len + c->size > m->limit)
		err = -EFBIG;
	if (!err)
		err = copy_content(d->fd, m->head, c, 0);
	if (!err)
		err = group_sync(d->fd);
	if (err)
		work_say_errno(r, -err, "maildir delivery failed: error writing message: %s", strerror(-err));
	if (!err) {
		err = move_to_new(d, now);
		if (err)
			work_say(r, "4.2.0", "maildir delivery failed: create maildir file %s: %s", buf_cstr(&d->new),
			         strerror(-err));
	}
	if (err) {
		(void)unlink(buf_cstr(&d->tmp));
		return;
	}
	err = sync_new(d);
	if (err)
		work_say(r, "4.2.0", "maildir delivery failed: sync %snew: %s", buf_cstr(&d->folder), strerror(-err));
	else
		work_say(r, "2.0.0", "delivered to maildir");
}

void work_maildir(const struct message_work_mailbox *m, const struct work_content *c, struct work_result *r)
{
	struct delivery d = {.folder = BUF_INIT(4096), .tmp = BUF_INIT(8192), .new = BUF_INIT(8192), .fd = -1};

	buf_add(&d.folder, m->path);
	group_sync_enter();
	deliver(&d, m, c, r);
	group_sync_leave();
	if (d.fd >= 0)
		close(d.fd);
	buf_done(&d.folder);
	buf_done(&d.tmp);
	buf_done(&d.new);
}
