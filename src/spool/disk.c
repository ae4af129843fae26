/* SPDX-License-Identifier: Apache-2.0 */
/* System calls on files, repeated until all is done. */
#include "spool/disk.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

int disk_read(int fd, void *to, size_t size, uint64_t at, size_t *ret_got)
{
	size_t got = 0;

	while (got < size) {
		ssize_t count = pread(fd, (char *)to + got, size - got, (off_t)(at + got));

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return -errno;
		if (!count)
			break;
		got += (size_t)count;
	}
	*ret_got = got;
	return 0;
}

int disk_read_cached(int fd, void *to, size_t size, uint64_t at, size_t *ret_got)
{
	struct iovec iov = {.iov_base = to, .iov_len = size};
	ssize_t count = preadv2(fd, &iov, 1, (off_t)at, RWF_NOWAIT);

	/* Not every file system can tell; then reading is all there is. */
	if (count < 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
		return disk_read(fd, to, size, at, ret_got);
	if (count < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	if ((size_t)count < size)
		return -EAGAIN; /* the end of the file, or of what is in memory */
	*ret_got = (size_t)count;
	return 0;
}

struct read_job {
	int fd;
	void *to;
	size_t size;
	uint64_t at;
	size_t got;
	int err;
};

static void read_run(void *arg)
{
	struct read_job *j = arg;

	j->err = disk_read(j->fd, j->to, j->size, j->at, &j->got);
}

int disk_read_waiting(int fd, void *to, size_t size, uint64_t at, size_t *ret_got)
{
	struct read_job j = {.fd = fd, .to = to, .size = size, .at = at};
	int err = disk_read_cached(fd, to, size, at, ret_got);

	if (err != -EAGAIN)
		return err;
	err = fiber_work(read_run, &j);
	if (!j.err)
		*ret_got = j.got;
	return j.err ? j.err : err;
}

int disk_write(int fd, const void *from, size_t size, uint64_t at)
{
	struct iovec iov = {.iov_base = (char *)(uintptr_t)from, .iov_len = size};

	return disk_write_pieces(fd, &iov, 1, at);
}

/* Leaves out the first `done` bytes. */
static void skip_pieces(struct iovec **iov, size_t *count, size_t done)
{
	while (*count && done >= (*iov)->iov_len) {
		done -= (*iov)->iov_len;
		++*iov;
		--*count;
	}
	if (*count) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + done;
		(*iov)->iov_len -= done;
	}
}

int disk_write_pieces(int fd, struct iovec *iov, size_t count, uint64_t at)
{
	skip_pieces(&iov, &count, 0);
	while (count) {
		ssize_t done = pwritev(fd, iov, (int)size_min(count, IOV_MAX), (off_t)at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done ? -errno : -EIO;
		at += (uint64_t)done;
		skip_pieces(&iov, &count, (size_t)done);
	}
	return 0;
}

int disk_sync(int fd)
{
	return fdatasync(fd) ? -errno : 0;
}

int disk_sync_folder(int folder_fd)
{
	return fsync(folder_fd) ? -errno : 0;
}
