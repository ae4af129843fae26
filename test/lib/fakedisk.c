/* SPDX-License-Identifier: Apache-2.0 */
#include "fakedisk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/base.h"

enum { PAGE = 4096, FILES_MAX = 512, PATH_SIZE = 512 };

enum change_kind { CREATE, WRITE, RESIZE, SYNC, REMOVE, RENAME, SYNC_FOLDER, MAKE_FOLDER, NOTE };

struct change {
	enum change_kind kind;
	char *path; /* below the root */
	char *to;   /* RENAME */
	char *data;
	size_t len;
	uint64_t at;     /* or the size, or the kind of a note */
	bool is_durable; /* O_DSYNC */
};

static struct {
	pthread_mutex_t lock;
	char root[PATH_SIZE];
	bool is_on;
	struct change *changes;
	size_t count;
	size_t size;
	struct {
		const char *part;
		unsigned skip;
		int error;
	} faults[2];
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* --- the record ------------------------------------------------------------------- */

static struct change *add(enum change_kind kind, const char *path)
{
	if (disk.count == disk.size) {
		disk.size = disk.size ? disk.size * 2 : 1024;
		disk.changes = mem_resize(disk.changes, disk.size * sizeof *disk.changes);
	}

	struct change *c = &disk.changes[disk.count++];

	*c = (struct change){.kind = kind, .path = mem_strdup(path)};
	return c;
}

static void forget(void)
{
	for (size_t i = 0; i < disk.count; i++) {
		free(disk.changes[i].path);
		free(disk.changes[i].to);
		free(disk.changes[i].data);
	}
	free(disk.changes);
	disk.changes = NULL;
	disk.count = disk.size = 0;
}

void fakedisk_start(const char *folder)
{
	forget();
	char *full = realpath(folder, NULL);

	if (!full || snprintf(disk.root, sizeof disk.root, "%s", full) >= (int)sizeof disk.root)
		die("fakedisk: %s: %s", folder, strerror(errno));
	free(full);
	disk.is_on = true;
}

void fakedisk_stop(void)
{
	disk.is_on = false;
}

void fakedisk_note(int kind, unsigned value)
{
	pthread_mutex_lock(&disk.lock);
	if (disk.is_on) {
		struct change *c = add(NOTE, "");

		c->at = (uint64_t)kind;
		c->len = value;
	}
	pthread_mutex_unlock(&disk.lock);
}

size_t fakedisk_count(void)
{
	return disk.count;
}

bool fakedisk_next_note(size_t cut, size_t *at, int *ret_kind, unsigned *ret_value)
{
	for (; *at < cut && *at < disk.count; ++*at) {
		struct change *c = &disk.changes[*at];

		if (c->kind != NOTE)
			continue;
		*ret_kind = (int)c->at;
		*ret_value = (unsigned)c->len;
		++*at;
		return true;
	}
	return false;
}

void fakedisk_fail(enum fakedisk_call what, const char *part, unsigned skip, int error)
{
	pthread_mutex_lock(&disk.lock);
	disk.faults[what].part = part;
	disk.faults[what].skip = skip;
	disk.faults[what].error = error;
	pthread_mutex_unlock(&disk.lock);
}

static int fault(enum fakedisk_call what, const char *path)
{
	int error = disk.faults[what].error;

	if (!error || !strstr(path, disk.faults[what].part) || disk.faults[what].skip-- > 0)
		return 0;
	disk.faults[what].error = 0;
	return error;
}

/* --- the calls ---------------------------------------------------------------------- */

/* The path of a descriptor below the root; false: not ours. */
static bool path_of_fd(int fd, char *to)
{
	char link[64], full[PATH_SIZE];
	size_t root = strlen(disk.root);
	ssize_t len;

	if (!disk.is_on)
		return false;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	len = readlink(link, full, sizeof full - 1);
	if (len < 0)
		return false;
	full[len] = '\0';
	if (strncmp(full, disk.root, root) || strstr(full, " (deleted)") || strstr(full, "lock.mdb"))
		return false;
	snprintf(to, PATH_SIZE, "%s", full + root + (full[root] == '/'));
	return true;
}

static bool path_at(int folder, const char *path, char *to)
{
	char base[PATH_SIZE];
	size_t root = strlen(disk.root);

	if (!disk.is_on)
		return false;
	if (path[0] == '/') {
		if (strncmp(path, disk.root, root))
			return false;
		snprintf(to, PATH_SIZE, "%s", path + root + (path[root] == '/'));
		return !strstr(to, "lock.mdb");
	}
	if (!path_of_fd(folder, base))
		return false;
	if (snprintf(to, PATH_SIZE, "%s%s%s", base, base[0] ? "/" : "", path) >= PATH_SIZE)
		die("fakedisk: a path is too long");
	return true;
}

static int open_recorded(int folder, const char *path, int flags, mode_t mode)
{
	char name[PATH_SIZE];
	int fd;

	pthread_mutex_lock(&disk.lock);
	bool is_new = flags & O_CREAT && path_at(folder, path, name) && faccessat(folder, path, F_OK, 0);

	fd = (int)syscall(SYS_openat, folder, path, flags, mode);
	if (fd >= 0 && is_new)
		add(CREATE, name);
	pthread_mutex_unlock(&disk.lock);
	return fd;
}

static mode_t mode_of(int flags, va_list args)
{
	return flags & O_CREAT ? (mode_t)va_arg(args, unsigned) : 0;
}

int openat(int folder, const char *path, int flags, ...)
{
	va_list args;

	va_start(args, flags);
	mode_t mode = mode_of(flags, args);
	va_end(args);
	return open_recorded(folder, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
	va_list args;

	va_start(args, flags);
	mode_t mode = mode_of(flags, args);
	va_end(args);
	return open_recorded(AT_FDCWD, path, flags, mode);
}

static void record_write(int fd, const char *path, const struct iovec *iov, int count, uint64_t at, size_t len)
{
	struct change *c = add(WRITE, path);

	c->at = at;
	c->data = mem_alloc(len ? len : 1);
	for (int i = 0; i < count && c->len < len; i++) {
		size_t part = size_min(iov[i].iov_len, len - c->len);

		if (part)
			memcpy(c->data + c->len, iov[i].iov_base, part);
		c->len += part;
	}
	c->is_durable = fcntl(fd, F_GETFL) & O_DSYNC;
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
	char path[PATH_SIZE];
	ssize_t done;

	pthread_mutex_lock(&disk.lock);
	bool is_ours = path_of_fd(fd, path);
	int error = is_ours ? fault(FAKEDISK_WRITE, path) : 0;

	done = error ? -1 : syscall(SYS_pwritev, fd, iov, count, at, 0);
	if (done > 0 && is_ours)
		record_write(fd, path, iov, count, (uint64_t)at, (size_t)done);
	pthread_mutex_unlock(&disk.lock);
	if (error)
		errno = error;
	return done;
}

ssize_t pwrite(int fd, const void *from, size_t len, off_t at)
{
	struct iovec iov = {.iov_base = (char *)(uintptr_t)from, .iov_len = len};

	return pwritev(fd, &iov, 1, at);
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	char path[PATH_SIZE];

	if (!path_of_fd(fd, path))
		return syscall(SYS_writev, fd, iov, count);

	off_t at = lseek(fd, 0, SEEK_CUR);
	ssize_t done = pwritev(fd, iov, count, at);

	if (done > 0)
		(void)lseek(fd, at + done, SEEK_SET);
	return done;
}

ssize_t write(int fd, const void *from, size_t len)
{
	struct iovec iov = {.iov_base = (char *)(uintptr_t)from, .iov_len = len};

	return writev(fd, &iov, 1);
}

static int resize(int fd, uint64_t size, long result)
{
	char path[PATH_SIZE];

	if (!result && path_of_fd(fd, path))
		add(RESIZE, path)->at = size;
	return (int)result;
}

int ftruncate(int fd, off_t size)
{
	pthread_mutex_lock(&disk.lock);
	int result = resize(fd, (uint64_t)size, syscall(SYS_ftruncate, fd, size));

	pthread_mutex_unlock(&disk.lock);
	return result;
}

int fallocate(int fd, int mode, off_t at, off_t len)
{
	pthread_mutex_lock(&disk.lock);
	int result = resize(fd, (uint64_t)(at + len), syscall(SYS_fallocate, fd, mode, at, len));

	pthread_mutex_unlock(&disk.lock);
	return result;
}

static int sync_recorded(int fd)
{
	char path[PATH_SIZE];
	struct stat st;
	int error = 0;

	pthread_mutex_lock(&disk.lock);
	if (path_of_fd(fd, path) && !fstat(fd, &st)) {
		error = fault(FAKEDISK_SYNC, path);
		if (!error)
			add(S_ISDIR(st.st_mode) ? SYNC_FOLDER : SYNC, path);
	}
	pthread_mutex_unlock(&disk.lock);
	if (error)
		errno = error;
	return error ? -1 : 0;
}

int fdatasync(int fd)
{
	return sync_recorded(fd);
}

int fsync(int fd)
{
	return sync_recorded(fd);
}

int unlinkat(int folder, const char *path, int flags)
{
	char name[PATH_SIZE];

	pthread_mutex_lock(&disk.lock);
	bool is_ours = path_at(folder, path, name);
	int result = (int)syscall(SYS_unlinkat, folder, path, flags);

	if (!result && is_ours)
		add(REMOVE, name);
	pthread_mutex_unlock(&disk.lock);
	return result;
}

int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
	char from_name[PATH_SIZE], to_name[PATH_SIZE];

	pthread_mutex_lock(&disk.lock);
	bool is_ours = path_at(from_folder, from, from_name) && path_at(to_folder, to, to_name);
	int result = (int)syscall(SYS_renameat2, from_folder, from, to_folder, to, 0);

	if (!result && is_ours)
		add(RENAME, from_name)->to = mem_strdup(to_name);
	pthread_mutex_unlock(&disk.lock);
	return result;
}

int mkdirat(int folder, const char *path, mode_t mode)
{
	char name[PATH_SIZE];

	pthread_mutex_lock(&disk.lock);
	bool is_ours = path_at(folder, path, name);
	int result = (int)syscall(SYS_mkdirat, folder, path, mode);

	if (!result && is_ours)
		add(MAKE_FOLDER, name);
	pthread_mutex_unlock(&disk.lock);
	return result;
}

/* The other names of the same calls, for files of more than 2 GiB on old machines. */
int openat64(int folder, const char *path, int flags, ...) __attribute__((alias("openat")));
int open64(const char *path, int flags, ...) __attribute__((alias("open")));
ssize_t pwrite64(int fd, const void *from, size_t len, off64_t at) __attribute__((alias("pwrite")));
ssize_t pwritev64(int fd, const struct iovec *iov, int count, off64_t at) __attribute__((alias("pwritev")));
int ftruncate64(int fd, off64_t size) __attribute__((alias("ftruncate")));
int fallocate64(int fd, int mode, off64_t at, off64_t len) __attribute__((alias("fallocate")));

/* --- what is left after a cut ------------------------------------------------------------ */

/* A file as the disk has it: bytes that are certain, and changes since. */
struct file {
	const char *path;
	char renamed[PATH_SIZE];
	char *durable;
	uint64_t durable_size;
	size_t *pending; /* changes: WRITE and RESIZE */
	size_t pending_count;
	bool is_linked;  /* its name is certain */
	bool is_removed; /* its removal waits for the folder's sync */
};

static struct {
	struct file files[FILES_MAX];
	size_t count;
	const char *folders[64];
	size_t folder_count;
} left;

static uint64_t luck_state;

static uint64_t luck(uint64_t limit)
{
	luck_state ^= luck_state << 13;
	luck_state ^= luck_state >> 7;
	luck_state ^= luck_state << 17;
	return luck_state % limit;
}

static struct file *find(const char *path)
{
	for (size_t i = left.count; i-- > 0;)
		if (!strcmp(left.files[i].path, path) && !left.files[i].is_removed)
			return &left.files[i];
	return NULL;
}

static void grow(struct file *f, uint64_t size)
{
	if (size <= f->durable_size)
		return;
	f->durable = mem_resize(f->durable, size);
	memset(f->durable + f->durable_size, 0, size - f->durable_size);
	f->durable_size = size;
}

static void apply(struct file *f, const struct change *c)
{
	if (c->kind == RESIZE) {
		grow(f, c->at);
		f->durable_size = c->at;
		return;
	}
	grow(f, c->at + c->len);
	memcpy(f->durable + c->at, c->data, c->len);
}

static void apply_all(struct file *f)
{
	for (size_t i = 0; i < f->pending_count; i++)
		apply(f, &disk.changes[f->pending[i]]);
	f->pending_count = 0;
}

static void file_free(struct file *f)
{
	free(f->durable);
	free(f->pending);
	*f = left.files[--left.count];
	if (f->path == left.files[left.count].renamed)
		f->path = f->renamed;
}

static bool is_in(const char *path, const char *folder)
{
	size_t len = strlen(folder);
	const char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash - path) == len && !strncmp(path, folder, len) : len == 0;
}

static void sync_folder(const char *folder)
{
	for (size_t i = left.count; i-- > 0;) {
		struct file *f = &left.files[i];

		if (!is_in(f->path, folder))
			continue;
		f->is_linked = true;
		if (f->is_removed)
			file_free(f);
	}
}

/* A file or a folder with all that is in it. Taken as certain at once: its folder's sync follows. */
static void rename_all(const char *from, const char *to)
{
	size_t len = strlen(from);

	for (size_t i = 0; i < left.count; i++) {
		const char *path = left.files[i].path;

		if (strncmp(path, from, len) || (path[len] && path[len] != '/'))
			continue;
		if (snprintf(left.files[i].renamed, PATH_SIZE, "%s%s", to, path + len) >= PATH_SIZE)
			die("fakedisk: a path is too long");
		left.files[i].path = left.files[i].renamed;
	}
	for (size_t i = 0; i < left.folder_count; i++)
		if (!strcmp(left.folders[i], from))
			left.folders[i] = to;
}

static void step(size_t at)
{
	const struct change *c = &disk.changes[at];
	struct file *f = c->kind == CREATE || c->kind == NOTE ? NULL : find(c->path);

	switch (c->kind) {
	case CREATE:
		if (left.count == FILES_MAX)
			die("fakedisk: too many files");
		left.files[left.count++] = (struct file){.path = c->path};
		break;
	case WRITE:
	case RESIZE:
		if (!f)
			break;
		if (c->is_durable) {
			apply(f, c);
			break;
		}
		f->pending = mem_resize(f->pending, (f->pending_count + 1) * sizeof *f->pending);
		f->pending[f->pending_count++] = at;
		break;
	case SYNC:
		if (f)
			apply_all(f);
		break;
	case REMOVE:
		if (f)
			f->is_removed = true;
		break;
	case RENAME:
		rename_all(c->path, c->to);
		break;
	case SYNC_FOLDER:
		sync_folder(c->path);
		break;
	case MAKE_FOLDER:
		left.folders[left.folder_count++] = c->path;
		break;
	case NOTE:
		break;
	}
}

/* Of each page some moment since the last sync. */
static void lay_out_pages(struct file *f, char *bytes, uint64_t size)
{
	for (uint64_t page = 0; page < size; page += PAGE) {
		uint64_t end = size - page < PAGE ? size : page + PAGE;
		size_t until = (size_t)luck(f->pending_count + 1);

		for (size_t i = 0; i < until; i++) {
			const struct change *c = &disk.changes[f->pending[i]];
			uint64_t from = c->at > page ? c->at : page, to = c->at + c->len < end ? c->at + c->len : end;

			if (c->kind == WRITE && from < to)
				memcpy(bytes + from, c->data + (from - c->at), to - from);
		}
	}
}

static uint64_t latest_size(const struct file *f)
{
	uint64_t size = f->durable_size;

	for (size_t i = 0; i < f->pending_count; i++) {
		const struct change *c = &disk.changes[f->pending[i]];

		if (c->kind == RESIZE)
			size = c->at;
		else if (c->at + c->len > size)
			size = c->at + c->len;
	}
	return size;
}

static void lay_out_file(struct file *f, const char *folder)
{
	char path[PATH_SIZE];
	uint64_t size = f->pending_count && luck(2) ? latest_size(f) : f->durable_size;
	char *bytes = mem_alloc(size ? size : 1);

	memcpy(bytes, f->durable ? f->durable : "", f->durable_size < size ? f->durable_size : size);
	lay_out_pages(f, bytes, size);
	if (snprintf(path, sizeof path, "%s/%s", folder, f->path) >= (int)sizeof path)
		die("fakedisk: a path is too long");

	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	for (uint64_t done = 0; fd >= 0 && done < size;) {
		ssize_t count = write(fd, bytes + done, size - done);

		if (count <= 0)
			die("fakedisk: cannot write %s: %s", path, strerror(errno));
		done += (uint64_t)count;
	}
	if (fd < 0)
		die("fakedisk: cannot make %s: %s", path, strerror(errno));
	close(fd);
	free(bytes);
}

void fakedisk_cut(size_t cut, uint64_t seed, const char *folder)
{
	char path[PATH_SIZE];

	luck_state = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) + cut;
	for (size_t i = 0; i < 8; i++)
		luck(2);
	for (size_t i = 0; i < cut && i < disk.count; i++)
		step(i);
	for (size_t i = 0; i < left.folder_count; i++) {
		if (snprintf(path, sizeof path, "%s/%s", folder, left.folders[i]) >= (int)sizeof path || mkdir(path, 0700))
			die("fakedisk: cannot make %s", path);
	}
	for (size_t i = 0; i < left.count; i++) {
		struct file *f = &left.files[i];
		bool is_there = f->is_linked || luck(2);

		if (f->is_removed && luck(2))
			is_there = false;
		if (is_there)
			lay_out_file(f, folder);
	}
	while (left.count)
		file_free(&left.files[0]);
	left.folder_count = 0;
}
