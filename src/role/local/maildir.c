/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delivery to Maildirs: a file in tmp, its content on disk, then moved to new, and the name on
 * disk. A Maildir that is not there is made.
 *
 * Content comes first and its name second: no crash leaves a name in new without the mail.
 * Both have to be on disk before anything is reported, and that is what a delivery costs. On
 * file systems that write their metadata through one log in order (ordered_log.h) many deliveries share it:
 *
 *	1. each file is written, and the write to disk begun;
 *	2. each write is waited for. The size and place of the data are in the log now, in memory at least;
 *	3. each file is moved to new, which the log has behind that;
 *	4. one fsync() of the file that was moved last makes the log durable up to there, and with it all the others.
 *
 * Elsewhere each file is synced before it is moved and each folder after it, as POSIX has it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "role/local/ordered_log.h"
#include "role/local/work.h"

/* One delivery on its way. */
struct delivery {
	const struct maildir_work *work;
	struct wall_time now;
	struct buf folder; /* ends in "/" */
	struct buf tmp;
	struct buf new;
	int fd;
	dev_t device;
	bool is_ordered; /* the file system has an ordered log */
	bool is_over;    /* the result is said */
};

static atomic_bool has_met_unordered;

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

static int create(struct delivery *d)
{
	d->fd = open(buf_cstr(&d->tmp), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return d->fd < 0 ? -errno : 0;
}

static int open_tmp(struct delivery *d)
{
	static atomic_uint counter;
	int err;

	buf_addf(&d->tmp, "%.*stmp/%lld.P%dQ%u.%s", STR_ARG(buf_str(&d->folder)), (long long)(d->now.us / 1000000), (int)getpid(),
	         atomic_fetch_add(&counter, 1), host_name());
	err = create(d);
	if (err == -ENOENT) {
		err = make_maildir(&d->folder);
		if (!err)
			err = create(d);
	}
	if (err)
		return err;
	d->is_ordered = ordered_log_has(d->fd, &d->device);
	if (!d->is_ordered)
		atomic_store(&has_met_unordered, true);
	return 0;
}

/* Device and inode make the name unique; nothing of that name is there unless the clock went back. */
static int move_to_new(struct delivery *d)
{
	struct stat st;

	if (fstat(d->fd, &st) != 0)
		return -errno;
	buf_addf(&d->new, "%.*snew/%lld.V%llxI%llxM%06lld.%s", STR_ARG(buf_str(&d->folder)), (long long)(d->now.us / 1000000),
	         (unsigned long long)st.st_dev, (unsigned long long)st.st_ino, (long long)(d->now.us % 1000000), host_name());
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
	int err;

	buf_addf(&path, "%.*snew", STR_ARG(buf_str(&d->folder)));
	err = sync_folder(buf_cstr(&path));
	buf_done(&path);
	return err;
}

/* The file in tmp is of no use any more. */
static void give_up_tmp(struct delivery *d)
{
	(void)unlink(buf_cstr(&d->tmp));
	d->is_over = true;
}

static void fail_writing(struct delivery *d, int err)
{
	work_say_errno(d->work->result, -err, "maildir delivery failed: error writing message: %s", strerror(-err));
	give_up_tmp(d);
}

static void write_file(struct delivery *d)
{
	const struct message_work_mailbox *m = d->work->mailbox;
	const struct work_content *c = d->work->content;
	int err = open_tmp(d);

	if (err) {
		work_say(d->work->result, "4.2.0", "maildir delivery failed: create maildir file %s: %s", buf_cstr(&d->tmp),
		         strerror(-err));
		d->is_over = true;
		return;
	}
	if (m->limit > 0 && m->head.len + c->size > m->limit)
		err = -EFBIG;
	if (!err)
		err = copy_content(d->fd, m->head, c, &copy_plain);
	if (!err && d->is_ordered && sync_file_range(d->fd, 0, 0, SYNC_FILE_RANGE_WRITE) != 0)
		err = -errno;
	if (err)
		fail_writing(d, err);
}

static void settle_content(struct delivery *d)
{
	enum { WHOLE_WRITE = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER };

	if ((d->is_ordered ? sync_file_range(d->fd, 0, 0, WHOLE_WRITE) : fsync(d->fd)) != 0)
		fail_writing(d, -errno);
}

static void name_file(struct delivery *d)
{
	int err = move_to_new(d);

	if (!err)
		return;
	work_say(d->work->result, "4.2.0", "maildir delivery failed: create maildir file %s: %s", buf_cstr(&d->new),
	         strerror(-err));
	give_up_tmp(d);
}

/* From the last to the first, because one that is durable makes those before it on the same log so. */
static void commit_names(struct delivery *all, size_t count)
{
	const struct delivery *last = NULL;
	int err = 0;

	for (size_t i = count; i-- > 0;) {
		struct delivery *d = &all[i];

		if (d->is_over)
			continue;
		if (!d->is_ordered)
			err = sync_new(d);
		else if (!last || last->device != d->device)
			err = fsync(d->fd) != 0 ? -errno : 0;
		last = d->is_ordered ? d : NULL;
		d->is_over = true;
		if (!err) {
			work_say(d->work->result, "2.0.0", "delivered to maildir");
			continue;
		}
		/* It will be delivered again. */
		(void)unlink(buf_cstr(&d->new));
		work_say(d->work->result, "4.2.0", "maildir delivery failed: sync %snew: %s", buf_cstr(&d->folder),
		         strerror(-err));
	}
}

static void each(struct delivery *all, size_t count, void (*step)(struct delivery *d))
{
	for (size_t i = 0; i < count; i++)
		if (!all[i].is_over)
			step(&all[i]);
}

void work_maildirs(const struct maildir_work *works, size_t count)
{
	struct delivery *all = mem_alloc(count * sizeof(*all));

	for (size_t i = 0; i < count; i++) {
		all[i] = (struct delivery){.work = &works[i],
		                           .now = clock_wall(),
		                           .folder = BUF_INIT(4096),
		                           .tmp = BUF_INIT(8192),
		                           .new = BUF_INIT(8192),
		                           .fd = -1};
		buf_add(&all[i].folder, works[i].mailbox->path);
	}
	each(all, count, write_file);
	each(all, count, settle_content);
	each(all, count, name_file);
	commit_names(all, count);
	for (size_t i = 0; i < count; i++) {
		if (all[i].fd >= 0)
			close(all[i].fd);
		buf_done(&all[i].folder);
		buf_done(&all[i].tmp);
		buf_done(&all[i].new);
	}
	free(all);
}

bool maildirs_share_commits(void)
{
	return !atomic_load(&has_met_unordered);
}
