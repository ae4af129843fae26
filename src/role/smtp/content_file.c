/* SPDX-License-Identifier: Apache-2.0 */
/* Open spool files, counted. */
#include "role/smtp/content_file.h"

#include <unistd.h>

#include "base/base.h"

enum { KEY_SIZE = 40 };

struct content_file {
	int fd;
	unsigned users; /* deliveries, and the table while it is in it */
};

static struct str file_key(uint32_t segment, uint32_t epoch, uint64_t large, char key[static KEY_SIZE])
{
	if (large)
		snprintf(key, KEY_SIZE, "%llx", (unsigned long long)large);
	else
		snprintf(key, KEY_SIZE, "%x.%x", segment, epoch);
	return str_of(key);
}

void content_file_put(struct content_file *f)
{
	if (!f || --f->users)
		return;
	close(f->fd);
	free(f);
}

void content_file_add(struct content_files *files, uint32_t segment, uint32_t epoch, uint64_t large, int fd)
{
	char key[KEY_SIZE];
	struct content_file *f = mem_alloc(sizeof(*f));

	*f = (struct content_file){.fd = fd, .users = 1};
	content_file_put(map_set(&files->by_name, file_key(segment, epoch, large, key), f));
}

void content_file_remove(struct content_files *files, uint32_t segment, uint32_t epoch, uint64_t large)
{
	char key[KEY_SIZE];

	content_file_put(map_remove(&files->by_name, file_key(segment, epoch, large, key)));
}

void content_file_remove_all(struct content_files *files)
{
	size_t at = 0;
	struct str key;
	void *f;

	while (map_next(&files->by_name, &at, &key, &f))
		content_file_put(f);
	map_done(&files->by_name);
	files->by_name = MAP_INIT;
}

struct content_file *content_file_get(const struct content_files *files, uint32_t segment, uint32_t epoch, uint64_t large)
{
	char key[KEY_SIZE];
	struct content_file *f = map_find(&files->by_name, file_key(segment, epoch, large, key));

	if (f)
		f->users++;
	return f;
}

int content_file_fd(const struct content_file *f)
{
	return f->fd;
}
