/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_stamp.h"

#include <sys/stat.h>

#include "base/clock.h"

struct tls_stamp tls_stamp_of(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return (struct tls_stamp){0};
	return (struct tls_stamp){
		.device = st.st_dev,
		.inode = st.st_ino,
		.size = (uint64_t)st.st_size,
		.modified_ns = (uint64_t)st.st_mtim.tv_sec * NS_PER_S + (uint64_t)st.st_mtim.tv_nsec,
	};
}

bool tls_stamp_eq(const struct tls_stamp *a, const struct tls_stamp *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size && a->modified_ns == b->modified_ns;
}
