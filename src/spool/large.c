/* SPDX-License-Identifier: Apache-2.0 */
/* Large files: content that is too long for a record. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/disk.h"
#include "spool/spool_internal.h"

enum { NAME_SIZE = 24, ABANDONED_AFTER_S = 600 };

static void large_name(char *to, uint64_t number)
{
	snprintf(to, NAME_SIZE, "%016llx", (unsigned long long)number);
}

struct large_file *large_find(struct spool *sp, uint64_t number)
{
	LIST_EACH(&sp->large, it) {
		struct large_file *l = LIST_ENTRY(it, struct large_file, link);

		if (l->number == number)
			return l;
	}
	return NULL;
}

struct large_file *large_add(struct spool *sp, uint64_t number)
{
	struct large_file *l = large_find(sp, number);

	if (!l) {
		l = mem_alloc(sizeof *l);
		*l = (struct large_file){.number = number, .fd = -1};
		list_add(&sp->large, &l->link);
	}
	return l;
}

static void large_free(struct large_file *l)
{
	list_remove(&l->link);
	if (l->fd >= 0)
		close(l->fd);
	free(l);
}

void large_close_all(struct spool *sp)
{
	LIST_EACH(&sp->large, it)
		large_free(LIST_ENTRY(it, struct large_file, link));
	LIST_EACH(&sp->lost_large, it)
		large_free(LIST_ENTRY(it, struct large_file, link));
}

struct make_job {
	struct spool *sp;
	uint64_t number;
	int fd;
	int err;
};

static void make_run(void *arg)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct make_job *j = arg;
	char name[NAME_SIZE];

	large_name(name, j->number);
	j->fd = openat(j->sp->large_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	j->err = j->fd < 0 || fcntl(j->fd, F_OFD_SETLK, &lock) ? -errno : disk_sync_folder(j->sp->large_fd);
	if (j->err && j->fd >= 0) {
		close(j->fd);
		unlinkat(j->sp->large_fd, name, 0);
	}
}

int spool_large_new(struct spool *sp, int *ret_fd, uint64_t *ret_number)
{
	struct make_job j = {.sp = sp, .number = ++sp->last_large};
	int err = spool_check_space(sp);

	if (err)
		return err;
	large_add(sp, j.number);
	(void)fiber_work(make_run, &j);
	if (j.err) {
		struct large_file *l = large_find(sp, j.number);

		if (l)
			large_free(l);
		return j.err;
	}
	*ret_fd = j.fd;
	*ret_number = j.number;
	return 0;
}

void spool_large_drop(struct spool *sp, uint64_t number)
{
	struct large_file *l = large_find(sp, number);

	/* One without a message that we granted: anything else is not the receiver's to drop. */
	if (l && !l->has_message)
		large_lose(sp, number);
}

int spool_large_fd(struct spool *sp, const struct spool_message *m, int *ret_fd)
{
	struct large_file *l = large_add(sp, m->large);
	char name[NAME_SIZE];

	l->has_message = true;
	if (l->fd < 0) {
		large_name(name, m->large);
		l->fd = openat(sp->large_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	}
	if (l->fd < 0)
		return -errno;
	*ret_fd = l->fd;
	return 0;
}

void large_lose(struct spool *sp, uint64_t number)
{
	struct large_file *l = large_add(sp, number);

	if (l->fd >= 0)
		sp->events.large_gone(sp->events.arg, number);
	list_remove(&l->link);
	list_add(&sp->lost_large, &l->link);
	spool_poke(sp);
}

struct remove_job {
	int folder_fd;
	uint64_t number;
	int err;
};

static void remove_run(void *arg)
{
	struct remove_job *j = arg;
	char name[NAME_SIZE];

	large_name(name, j->number);
	j->err = unlinkat(j->folder_fd, name, 0) ? -errno : 0;
}

void large_remove_lost(struct spool *sp)
{
	struct list *first;

	while ((first = list_first(&sp->lost_large))) {
		struct large_file *l = LIST_ENTRY(first, struct large_file, link);
		struct remove_job j = {.folder_fd = sp->large_fd, .number = l->number};

		large_free(l);
		(void)fiber_work(remove_run, &j);
		if (j.err && j.err != -ENOENT)
			spool_trouble(sp, "cannot remove %s/large/%016llx: %s", sp->path, (unsigned long long)j.number,
			              strerror(-j.err));
	}
}

void large_forget(struct spool *sp, uint64_t number)
{
	struct large_file *l = large_find(sp, number);

	if (!l)
		return;
	if (l->fd >= 0)
		sp->events.large_gone(sp->events.arg, number);
	large_free(l);
}

struct sweep_job {
	struct spool *sp;
	uint64_t *numbers;
	size_t count;
};

/* Nobody writes to it, and whoever did has long since announced what it belongs to. */
static bool is_abandoned(int folder_fd, const char *name)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = openat(folder_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	bool is_old = false;
	struct stat st;

	if (fd < 0)
		return false;
	if (!fstat(fd, &st) && !fcntl(fd, F_OFD_GETLK, &lock) && lock.l_type == F_UNLCK)
		is_old = (int64_t)st.st_mtime < clock_wall().us / 1000000 - ABANDONED_AFTER_S;
	close(fd);
	return is_old;
}

static void sweep_folder(struct sweep_job *j, DIR *dir, struct index_txn *txn)
{
	struct dirent *entry;

	while ((entry = readdir(dir))) {
		char *end;
		unsigned long long number = strtoull(entry->d_name, &end, 16);

		if (end != entry->d_name + 16 || *end || index_has_large(txn, number) ||
		    !is_abandoned(j->sp->large_fd, entry->d_name))
			continue;
		j->numbers = mem_resize(j->numbers, (j->count + 1) * sizeof *j->numbers);
		j->numbers[j->count++] = number;
	}
}

static void sweep_run(void *arg)
{
	struct sweep_job *j = arg;
	int fd = openat(j->sp->folder_fd, "large", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct index_txn *txn;

	if (!dir)
		return;
	if (!index_begin(j->sp->ix, false, &txn)) {
		sweep_folder(j, dir, txn);
		index_abort(txn);
	}
	closedir(dir);
}

void large_sweep(struct spool *sp)
{
	struct sweep_job j = {.sp = sp};

	index_lock(sp);
	(void)fiber_work(sweep_run, &j);
	index_unlock(sp);
	for (size_t i = 0; i < j.count; i++)
		if (!large_find(sp, j.numbers[i]))
			large_lose(sp, j.numbers[i]);
	free(j.numbers);
}

int large_load(struct spool *sp)
{
	int fd = openat(sp->folder_fd, "large", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		unsigned long long number = strtoull(entry->d_name, NULL, 16);

		sp->last_large = number > sp->last_large ? number : sp->last_large;
	}
	closedir(dir);
	return 0;
}
