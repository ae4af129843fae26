/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a table source whole. */
#include "table/read_file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "table/table_internal.h"

static int read_all(int fd, struct buf *to)
{
	for (;;) {
		char *room = buf_room(to, 64 << 10);
		ssize_t got;

		if (!room)
			return -EFBIG;
		got = read(fd, room, 64 << 10);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			return 0;
		buf_added(to, (size_t)got);
	}
}

int read_table_file(struct str path, struct buf *to, struct file_stamp *stamp, struct buf *why)
{
	char *name = str_cstr(path);
	int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int err = fd < 0 ? -errno : 0;

	/* First: what is written while it is read is then seen as a change. */
	if (!err && stamp)
		file_stamp_set(stamp, path, fd);
	if (!err)
		err = read_all(fd, to);
	if (err)
		buf_addf(why, "open %s: %s", name, strerror(-err));
	if (fd >= 0)
		close(fd);
	free(name);
	return err;
}
