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

/* A file that mail goes to. */
struct target {
	int fd;           /* -1 until it is open */
	struct buf place; /* its path, that of the file itself once it is open */
	struct stat st;   /* as it was opened */
};

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

/* Opens what t->place leads to. */
static int open_followed(struct target *t, int flags)
{
	int err = 0;

	for (int i = 0; i < LINKS_MAX && !err; i++) {
		t->fd = open(buf_cstr(&t->place), flags | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0600);
		if (t->fd >= 0)
			return 0;
		err = errno == ELOOP ? follow_link(&t->place) : -errno;
	}
	return err ? err : -ELOOP;
}

static int open_mailbox(const struct message_work_mailbox *m, struct work_result *r, struct target *t)
{
	int err;

	buf_add(&t->place, m->path);
	err = buf_check(&t->place);
	if (!err)
		err = open_followed(t, O_RDWR | O_APPEND | O_CREAT | O_NONBLOCK);
	/* A device or a fifo can perhaps not be read. */
	if (err && (m->flags & WORK_PLAIN_FILE))
		err = open_followed(t, O_WRONLY | O_APPEND);
	if (!err && fstat(t->fd, &t->st) != 0)
		err = -errno;
	if (err)
		work_say(r, "4.2.0", "cannot %s %.*s: %s", kind(m), STR_ARG(m->path), strerror(-err));
	return err;
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

/* Makes the name durable. A user may be forbidden to read the folder that his mailbox is in; then this is left to the file
 * system. */
static int sync_folder(struct buf *place)
{
	int fd, err = 0;

	buf_cut(place, folder_len(place));
	fd = open(place->len ? buf_cstr(place) : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == EACCES ? 0 : -errno;
	if (fsync(fd) != 0)
		err = -errno;
	close(fd);
	return err;
}

/* The end may have moved while we waited for the lock. */
static int append_locked(struct target *t, const struct message_work_mailbox *m, const struct work_content *c, bool is_regular)
{
	struct stat st;
	int err = fstat(t->fd, &st) != 0 ? -errno : 0;

	if (!err && is_regular)
		err = check_place(m, &st);
	if (err)
		return err;
	if (is_regular && m->limit > 0 && (uint64_t)st.st_size + m->head.len + c->size > m->limit)
		return -EFBIG;
	err = append(t->fd, m, c, is_regular);
	/* Perhaps it was made for this message, now or by an attempt that failed. */
	if (!err && is_regular && !st.st_size)
		err = sync_folder(&t->place);
	/* The error that counts is the first. */
	if (err && is_regular)
		(void)!ftruncate(t->fd, st.st_size);
	return err;
}

static void deliver(struct target *t, const struct message_work_mailbox *m, const struct work_content *c, struct work_result *r)
{
	bool is_regular = S_ISREG(t->st.st_mode);
	struct mailbox_lock lock;
	int err;

	if (!check_mailbox(m, &t->st, r) || (is_regular && mailbox_lock(&lock, t->fd, m, r) != 0))
		return;
	err = append_locked(t, m, c, is_regular);
	if (is_regular)
		mailbox_unlock(&lock);
	if (err)
		work_say_errno(r, -err, "cannot %s %.*s: error writing message: %s", kind(m), STR_ARG(m->path), strerror(-err));
	else if (m->flags & WORK_PLAIN_FILE)
		work_say(r, "2.0.0", "delivered to file: %.*s", STR_ARG(m->path));
	else
		work_say(r, "2.0.0", "delivered to mailbox");
}

void work_mbox(const struct message_work_mailbox *m, const struct work_content *c, struct work_result *r)
{
	struct target t = {.fd = -1, .place = BUF_INIT(PATH_MAX)};

	if (open_mailbox(m, r, &t) == 0)
		deliver(&t, m, c, r);
	if (t.fd >= 0)
		close(t.fd);
	buf_done(&t.place);
}
