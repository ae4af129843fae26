/* SPDX-License-Identifier: Apache-2.0 */
/* What is known about file systems, each asked once. */
#include "role/local/ordered_log.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/base.h"

/* Not in every linux/magic.h. */
enum { MAGIC_XFS = 0x58465342, KNOWN_MAX = 16 };

static struct {
	pthread_mutex_t lock;
	struct {
		dev_t device;
		bool has_log;
	} file_systems[KNOWN_MAX];
	size_t count;
} known = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ext4 can do without a journal, and then its magic number is the same: /sys tells whether a task writes one. */
static bool has_journal(dev_t device)
{
	char path[300], target[256], text[16];
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(device), minor(device));
	len = readlink(path, target, sizeof(target) - 1);
	if (len <= 0)
		return false;
	target[len] = '\0';
	snprintf(path, sizeof(path), "/sys/fs/ext4/%s/journal_task", strrchr(target, '/') ? strrchr(target, '/') + 1 : target);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	len = fd < 0 ? -1 : read(fd, text, sizeof(text));
	if (fd >= 0)
		close(fd);
	return len > 0 && text[0] >= '1' && text[0] <= '9';
}

static bool look(int fd, dev_t device)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) != 0)
		return false;
	return fs.f_type == MAGIC_XFS || (fs.f_type == EXT4_SUPER_MAGIC && has_journal(device));
}

bool ordered_log_has(int fd, dev_t *ret_device)
{
	struct stat st;
	bool has_log = false;
	size_t at = 0;

	*ret_device = 0;
	if (fstat(fd, &st) != 0)
		return false;
	*ret_device = st.st_dev;
	pthread_mutex_lock(&known.lock);
	while (at < known.count && known.file_systems[at].device != st.st_dev)
		at++;
	if (at == known.count && at < KNOWN_MAX) {
		known.file_systems[at].device = st.st_dev;
		known.file_systems[at].has_log = look(fd, st.st_dev);
		known.count++;
	}
	if (at < known.count)
		has_log = known.file_systems[at].has_log;
	pthread_mutex_unlock(&known.lock);
	return has_log;
}
