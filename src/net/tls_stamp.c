/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_stamp.h"

#include <dirent.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/str.h"

enum { ENTRIES_MAX = 10000 };

static struct tls_stamp stamp_of(const struct stat *st)
{
	return (struct tls_stamp){
		.device = st->st_dev,
		.inode = st->st_ino,
		.size = (uint64_t)st->st_size,
		.modified_ns = (uint64_t)st->st_mtim.tv_sec * NS_PER_S + (uint64_t)st->st_mtim.tv_nsec,
	};
}

/* The same in every process and whatever the order of the entries. */
static uint64_t sum_of_entries(const char *path)
{
	static const uint64_t key[2] = {0x7461, 0x6d70};
	DIR *folder = opendir(path);
	struct dirent *e;
	uint64_t sum = 0;

	for (int i = 0; folder && i < ENTRIES_MAX && (e = readdir(folder)); i++) {
		struct tls_stamp entry = {0};
		struct stat st;

		if (e->d_name[0] == '.')
			continue;
		if (!fstatat(dirfd(folder), e->d_name, &st, 0))
			entry = stamp_of(&st);
		sum += hash_bytes_keyed(key, e->d_name, strlen(e->d_name)) ^ hash_bytes_keyed(key, &entry, sizeof(entry));
	}
	if (folder)
		closedir(folder);
	return sum;
}

struct tls_stamp tls_stamp_of(const char *path)
{
	struct tls_stamp stamp;
	struct stat st;

	if (stat(path, &st))
		return (struct tls_stamp){0};
	stamp = stamp_of(&st);
	if (S_ISDIR(st.st_mode))
		stamp.size = sum_of_entries(path);
	return stamp;
}

bool tls_stamp_eq(const struct tls_stamp *a, const struct tls_stamp *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size && a->modified_ns == b->modified_ns;
}
