/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The folders below queue_directory and data_directory, and the pid file.
 *
 *	queue_directory/            root        0755
 *	queue_directory/postrider/  mail_owner  0700  the spool
 *	queue_directory/private/    mail_owner  0700  sockets of other programs (Dovecot, policy services)
 *	queue_directory/public/     mail_owner  0755  sockets for commands: the role asks the kernel who connects
 *	queue_directory/pid/        root        0755
 *	queue_directory/tlstrace/   root        0700  what "trace" in a TLS loglevel leaves
 *	data_directory/             mail_owner  0700
 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "process/process.h"
#include "role/master/master.h"

/* Like mkdir -p, for a path of the configuration. */
static int make_path(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		if (mkdir(path, 0755) && errno != EEXIST) {
			*slash = '/';
			return -errno;
		}
		*slash = '/';
	}
	return mkdir(path, 0755) && errno != EEXIST ? -errno : 0;
}

/*
 * Creates one folder; as root also gives it the owner and mode that it shall have. The two that the configuration names may be
 * links to where there is more room, what lies in them may not.
 */
static int make_folder(struct str base, const char *name, uid_t uid, gid_t gid, mode_t mode, struct buf *why)
{
	struct buf path = BUF_INIT(4096);
	int fd = -1, err;

	buf_addf(&path, "%.*s%s%s", STR_ARG(base), *name ? "/" : "", name);
	err = make_path(path.ptr);
	if (!err) {
		fd = open(path.ptr, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (*name ? O_NOFOLLOW : 0));
		err = fd < 0 ? -errno : 0;
	}
	if (!err && geteuid() == 0 && (fchown(fd, uid, gid) || fchmod(fd, mode)))
		err = -errno;
	if (fd >= 0)
		close(fd);
	if (err)
		buf_addf(why, "%s: %s%s", buf_cstr(&path), strerror(-err),
		         err == -EACCES ? "; start as root, or set queue_directory and data_directory to folders of your own"
		                        : "");
	buf_done(&path);
	return err;
}

int folders_make(const struct config *c, struct buf *why)
{
	const struct view *v = config_main_view(c);
	struct str queue = view_get(v, STR("queue_directory")), data = view_get(v, STR("data_directory"));
	char *owner = str_cstr(view_get(v, STR("mail_owner")));
	struct passwd *pw = getpwnam(owner);
	uid_t uid = pw ? pw->pw_uid : geteuid();
	gid_t gid = pw ? pw->pw_gid : getegid();
	int err = 0;

	if (geteuid() == 0 && (!pw || pw->pw_uid == 0)) {
		buf_addf(why, "mail_owner: there is no user \"%s\" of its own; create one with `adduser --system --group %s`",
		         owner, owner);
		err = -ENOENT;
	}
	free(owner);
	if (!err)
		err = make_folder(queue, "", 0, 0, 0755, why);
	if (!err)
		err = make_folder(queue, PROCESS_SPOOL_FOLDER, uid, gid, 0700, why);
	if (!err)
		err = make_folder(queue, "private", uid, gid, 0700, why);
	if (!err)
		err = make_folder(queue, "public", uid, gid, 0755, why);
	if (!err)
		err = make_folder(queue, "pid", 0, 0, 0755, why);
	if (!err)
		err = make_folder(queue, TRACE_FOLDER, 0, 0, 0700, why);
	if (!err)
		err = make_folder(data, "", uid, gid, 0700, why);
	return err;
}

/* Whoever could open this file could hold a lock on it and so keep us from starting: nobody else can. */
static int take_turn(struct str folder, struct buf *why)
{
	struct buf path = BUF_INIT(4096);
	int fd, err = 0;

	buf_addf(&path, "%.*s/" PID_LOCK_FILE, STR_ARG(folder));
	fd = open(buf_cstr(&path), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB))
		err = errno == EWOULDBLOCK ? -EBUSY : -errno;
	if (err == -EBUSY)
		buf_addf(why, "the mail system is already running: another master holds %s", buf_cstr(&path));
	else if (err)
		buf_addf(why, "%s: %s", buf_cstr(&path), strerror(-err));
	if (err && fd >= 0)
		close(fd);
	buf_done(&path);
	return err ? err : fd;
}

/* A new file, whose lock is ours before anybody else can open it. */
static int write_pid(struct str folder, int *ret_fd, struct buf *why)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct buf path = BUF_INIT(4096);
	int fd, size, err = 0;
	char text[32];

	buf_addf(&path, "%.*s/" PID_FILE, STR_ARG(folder));
	size = snprintf(text, sizeof(text), "%10d\n", (int)getpid());
	if (unlink(buf_cstr(&path)) && errno != ENOENT)
		err = -errno;
	fd = err ? -1 : open(buf_cstr(&path), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (!err && (fd < 0 || fcntl(fd, F_OFD_SETLK, &lock) || pwrite(fd, text, (size_t)size, 0) != size || fchmod(fd, 0644)))
		err = errno ? -errno : -EIO;
	if (err)
		buf_addf(why, "%s: %s", buf_cstr(&path), strerror(-err));
	if (err && fd >= 0)
		close(fd);
	buf_done(&path);
	if (!err)
		*ret_fd = fd;
	return err;
}

int pid_file_take(const struct config *c, struct master *m, struct buf *why)
{
	struct str folder = view_get(config_main_view(c), STR("queue_directory"));
	int fd = take_turn(folder, why), err;

	if (fd < 0)
		return fd;
	err = write_pid(folder, &m->pid_fd, why);
	if (err)
		close(fd);
	else
		m->turn_fd = fd;
	return err;
}
