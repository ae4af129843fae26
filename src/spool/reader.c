/* SPDX-License-Identifier: Apache-2.0 */
/* The files a deliverer may read, counted by who reads them. */
#include "spool/reader.h"

#include <errno.h>
#include <unistd.h>

#include "spool/disk.h"

struct spool_file {
	int fd;
	bool is_borrowed; /* the descriptor is someone else's */
	unsigned users;   /* the table and every open content */
};

struct file_key {
	char bytes[16];
	size_t len;
};

static struct file_key key_of(uint32_t segment, uint32_t epoch, uint64_t large)
{
	struct file_key k = {.len = large ? sizeof large : sizeof segment + sizeof epoch + 1};

	if (large) {
		memcpy(k.bytes, &large, sizeof large);
	} else {
		memcpy(k.bytes, &segment, sizeof segment);
		memcpy(k.bytes + sizeof segment, &epoch, sizeof epoch);
	}
	return k;
}

static void file_drop(struct spool_file *file)
{
	if (!file || --file->users)
		return;
	if (!file->is_borrowed)
		close(file->fd);
	free(file);
}

static void files_add(struct spool_files *f, struct file_key k, int fd)
{
	struct spool_file *file = mem_alloc(sizeof *file);

	*file = (struct spool_file){.fd = fd, .users = 1};
	file_drop(map_set(&f->files, str_n(k.bytes, k.len), file));
}

void spool_files_add_segment(struct spool_files *f, uint32_t segment, uint32_t epoch, int fd)
{
	files_add(f, key_of(segment, epoch, 0), fd);
}

void spool_files_add_large(struct spool_files *f, uint64_t number, int fd)
{
	files_add(f, key_of(0, 0, number), fd);
}

static void files_remove(struct spool_files *f, struct file_key k)
{
	file_drop(map_remove(&f->files, str_n(k.bytes, k.len)));
}

void spool_files_remove_segment(struct spool_files *f, uint32_t segment, uint32_t epoch)
{
	files_remove(f, key_of(segment, epoch, 0));
}

void spool_files_remove_large(struct spool_files *f, uint64_t number)
{
	files_remove(f, key_of(0, 0, number));
}

void spool_files_done(struct spool_files *f)
{
	size_t at = 0;
	struct str key;
	void *file;

	while (map_next(&f->files, &at, &key, &file))
		file_drop(file);
	map_done(&f->files);
	*f = (struct spool_files){0};
}

int content_open(struct content *c, struct spool_files *f, uint32_t segment, uint32_t epoch, uint64_t large, uint64_t content_at,
	uint64_t content_size)
{
	struct file_key k = key_of(segment, epoch, large);
	struct spool_file *file = map_find(&f->files, str_n(k.bytes, k.len));

	if (!file)
		return -ENOENT;
	file->users++;
	*c = (struct content){.file = file, .start = content_at, .size = content_size};
	return 0;
}

void content_open_fd(struct content *c, int fd, uint64_t start, uint64_t size)
{
	struct spool_file *file = mem_alloc(sizeof *file);

	*file = (struct spool_file){.fd = fd, .is_borrowed = true, .users = 1};
	*c = (struct content){.file = file, .start = start, .size = size};
}

int content_read(struct content *c, char *to, size_t size, size_t *ret_got)
{
	uint64_t left = c->size - c->at;
	size_t got = 0, want = left < size ? (size_t)left : size;
	int err = want ? disk_read_waiting(c->file->fd, to, want, c->start + c->at, &got) : 0;

	if (!err && got < want)
		err = -EBADMSG;
	if (err)
		return err;
	c->at += got;
	*ret_got = got;
	return 0;
}

void content_seek(struct content *c, uint64_t at)
{
	c->at = at < c->size ? at : c->size;
}

void content_close(struct content *c)
{
	file_drop(c->file);
	*c = (struct content){0};
}
