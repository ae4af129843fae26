/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delivery to a file: the mbox format, "From " line, message, empty line. What cannot be
 * written whole is taken back by truncating the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "role/local/work.h"

enum { LINKS_MAX = 40 };

/* "delivery to mailbox x" or "delivery to file x" in texts. */
static const char *kind(const struct message_work_mailbox *m)
{
	return m->flags & WORK_PLAIN_FILE ? "append message to file" : "update mailbox";
}

/* The part up to the name. */
static size_t folder_len(const struct buf *path)
{
	size_t len = path->len;

	while (len && path->ptr[len - 1] != '/')
		len--;
	return len;
}

/*
 * Replaces the path of a link by what it points to. A link may lead to another file of the same user, and mail appended there
 * would be commands or keys to whoever reads it: only links of root and of the user himself are followed. The one looked at is
 * the one followed, though others may write in its folder and put another there: it is read through a descriptor.
 */
static int follow_link(struct buf *path)
{
	int fd = open(buf_cstr(path), O_PATH | O_NOFOLLOW | O_CLOEXEC), err = 0;
	char *target = mem_alloc(PATH_MAX);
	struct stat st;
	ssize_t len = 0;

	if (fd < 0 || fstat(fd, &st) != 0)
		err = -errno;
	else if (S_ISLNK(st.st_mode) && st.st_uid != 0 && st.st_uid != geteuid())
		err = -ELOOP;
	else if (S_ISLNK(st.st_mode))
		len = readlinkat(fd, "", target, PATH_MAX);
	if (!err && len < 0)
		err = -errno;
	if (!err && len > 0) {
		buf_cut(path, target[0] == '/' ? 0 : folder_len(path));
		buf_add(path, str_n(target, (size_t)len));
		err = buf_check(path);
	}
	if (fd >= 0)
		close(fd);
	free(target);
	return err;
}

/* Opens what the path leads to; the path becomes that of the file itself. */
static int open_followed(struct buf *path, int flags)
{
	for (int i = 0; i < LINKS_MAX; i++) {
		int fd = open(buf_cstr(path), flags | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0600), err;

		if (fd >= 0)
			return fd;
		err = errno == ELOOP ? follow_link(path) : -errno;
		if (err)
			return err;
	}
	return -ELOOP;
}

static int open_mailbox(const struct message_work_mailbox *m, struct work_result *r, struct stat *ret_st)
{
	struct buf path = BUF_INIT(PATH_MAX);
	int err, fd;

	buf_add(&path, m->path);
	err = buf_check(&path);
	fd = err ? err : open_followed(&path, O_RDWR | O_APPEND | O_CREAT | O_NONBLOCK);
	/* A device or a fifo can perhaps not be read. */
	if (fd < 0 && !err && (m->flags & WORK_PLAIN_FILE))
		fd = open_followed(&path, O_WRONLY | O_APPEND);
	if (fd < 0)
		err = fd;
	else if (fstat(fd, ret_st) != 0)
		err = -errno;
	if (err)
		work_say(r, "4.2.0", "cannot %s %.*s: %s", kind(m), STR_ARG(m->path), strerror(-err));
	buf_done(&path);
	if (err && fd >= 0)
		close(fd);
	return err ? err : fd;
}

/* Is it a file that mail may go to? */
static bool check_mailbox(const struct message_work_mailbox *m, const struct stat *st, struct work_result *r)
{
	/* A second name of a file that was given as the mailbox by somebody else. */
	if (S_ISREG(st->st_mode) && st->st_nlink > 1) {
		work_say(r, "4.2.0", "cannot %s %.*s: file has %lu hard links", kind(m), STR_ARG(m->path),
		         (unsigned long)st->st_nlink);
		return false;
	}
	if (m->flags & WORK_PLAIN_FILE) {
		if (S_ISREG(st->st_mode) && (st->st_mode & 0111)) {
			work_say(r, "5.7.1", "file %.*s is executable: mail is not delivered to it", STR_ARG(m->path));
			return false;
		}
		return true;
	}
	if (!S_ISREG(st->st_mode)) {
		work_say(r, "5.2.0", "destination %.*s is not a regular file", STR_ARG(m->path));
		return false;
	}
	if ((m->flags & WORK_STRICT_OWNER) && st->st_uid != geteuid()) {
		work_say(r, "4.2.0", "destination %.*s is not owned by recipient", STR_ARG(m->path));
		return false;
	}
	return true;
}

static int append(int fd, const struct message_work_mailbox *m, const struct work_content *c, bool is_regular)
{
	static const struct copy_form form = {.flags = COPY_QUOTE_FROM | COPY_BLANK_LINE, .line_end = {"\n", 1}};
	struct buf head = BUF_INIT(1 << 20);
	int err;

	buf_addf(&head, "%.*s\n", STR_ARG(m->from_line));
	buf_add(&head, m->head);
	err = copy_content(fd, buf_str(&head), c, &form);
	buf_done(&head);
	if (!err && is_regular && fsync(fd) != 0)
		err = -errno;
	return err;
}

/* Whoever held the lock may have put another file in its place: what is appended to the old one nobody reads. */
static int check_place(const struct message_work_mailbox *m, const struct stat *st)
{
	char *path = str_cstr(m->path);
	struct stat there;
	int err = stat(path, &there) != 0 ? -errno : 0;

	free(path);
	if (err)
		return err == -ENOENT ? -ESTALE : err;
	return there.st_dev == st->st_dev && there.st_ino == st->st_ino ? 0 : -ESTALE;
}

/* The end may have moved while we waited for the lock. */
static int append_locked(int fd, const struct message_work_mailbox *m, const struct work_content *c, bool is_regular)
{
	struct stat st;
	int err = fstat(fd, &st) != 0 ? -errno : 0;

	if (!err && is_regular)
		err = check_place(m, &st);
	if (err)
		return err;
	if (is_regular && m->limit > 0 && (uint64_t)st.st_size + m->head.len + c->size > m->limit)
		return -EFBIG;
	err = append(fd, m, c, is_regular);
	/* The error that counts is the first. */
	if (err && is_regular)
		(void)!ftruncate(fd, st.st_size);
	return err;
}

void work_mbox(const struct message_work_mailbox *m, const struct work_content *c, struct work_result *r)
{
	struct mailbox_lock lock;
	struct stat st;
	int err, fd = open_mailbox(m, r, &st);
	bool is_regular;

	if (fd < 0)
		return;
	is_regular = S_ISREG(st.st_mode);
	if (!check_mailbox(m, &st, r) || (is_regular && mailbox_lock(&lock, fd, m, r) != 0)) {
		close(fd);
		return;
	}
	err = append_locked(fd, m, c, is_regular);
	if (is_regular)
		mailbox_unlock(&lock);
	close(fd);
	if (err)
		work_say_errno(r, -err, "cannot %s %.*s: error writing message: %s", kind(m), STR_ARG(m->path), strerror(-err));
	else if (m->flags & WORK_PLAIN_FILE)
		work_say(r, "2.0.0", "delivered to file: %.*s", STR_ARG(m->path));
	else
		work_say(r, "2.0.0", "delivered to mailbox");
}
