/* SPDX-License-Identifier: Apache-2.0 */
/* Rewriting configuration files. */
#include "cmd/postconf/postconf_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_SIZE_MAX = 1 << 26 };

/* A physical line and the logical line that it is part of; 0 for comments and blank lines. */
struct physical {
	struct str text;
	size_t part_of;
	bool is_last; /* of its logical line */
};

struct lines {
	struct arena arena;
	struct physical *items;
	size_t count;
	struct buf *logical; /* joined texts, from 1 on */
	size_t logical_count;
};

static void split_lines(struct lines *l, struct str bytes)
{
	size_t size = 1, now = 0;

	for (size_t i = 0; i < bytes.len; i++)
		size += bytes.ptr[i] == '\n';
	l->items = arena_alloc(&l->arena, size * sizeof(*l->items));
	l->logical = arena_alloc(&l->arena, (size + 1) * sizeof(*l->logical));
	while (bytes.len > 0) {
		size_t end = str_find(bytes, '\n');
		struct physical *line = &l->items[l->count++];
		struct str trimmed = str_trim(str_cut(bytes, 0, end));

		line->text = str_cut(bytes, 0, end);
		bytes = str_from(bytes, end + 1);
		if (str_is_empty(trimmed) || trimmed.ptr[0] == '#')
			continue;
		if (!ascii_is_space(line->text.ptr[0])) {
			now = ++l->logical_count;
			buf_init(&l->logical[now], FILE_SIZE_MAX);
		}
		line->part_of = now;
		if (now > 0)
			buf_add(&l->logical[now], line->text);
	}
}

static void mark_last(struct lines *l)
{
	size_t behind = 0;

	for (size_t i = l->count; i-- > 0;) {
		l->items[i].is_last = l->items[i].part_of != 0 && l->items[i].part_of != behind;
		if (l->items[i].part_of != 0)
			behind = l->items[i].part_of;
	}
}

static void add_line(struct buf *to, struct str line)
{
	buf_add(to, line);
	buf_add_char(to, '\n');
}

void file_edit_text(struct str bytes, const struct file_edit *edit, struct buf *to)
{
	struct lines l = {0};
	struct file_change change = {0};
	size_t now = 0;

	split_lines(&l, bytes);
	mark_last(&l);
	for (size_t i = 0; i < l.count; i++) {
		const struct physical *line = &l.items[i];
		bool is_first = line->part_of != 0 && line->part_of != now;

		if (is_first) {
			now = line->part_of;
			change = edit->change(edit->context, str_trim(buf_str(&l.logical[now])));
		}
		bool is_place = edit->is_after_comments ? line->is_last : is_first;
		if (line->part_of == 0 || (!change.is_removed && !change.is_comment && !change.text.ptr)) {
			add_line(to, line->text);
		} else if (change.is_comment) {
			buf_add_char(to, '#');
			add_line(to, line->text);
		} else if (is_place && change.text.ptr) {
			add_line(to, change.text);
		}
	}
	edit->finish(edit->context, to);
	for (size_t i = 1; i <= l.logical_count; i++)
		buf_done(&l.logical[i]);
	arena_done(&l.arena);
}

static int read_all(int fd, struct buf *to)
{
	for (;;) {
		char *room = buf_room(to, 65536);
		ssize_t n = room ? read(fd, room, 65536) : 0;

		if (!room)
			return -EFBIG;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		buf_added(to, (size_t)n);
	}
}

static int write_all(int fd, struct str bytes)
{
	while (bytes.len > 0) {
		ssize_t n = write(fd, bytes.ptr, bytes.len);

		if (n < 0)
			return -errno;
		bytes = str_from(bytes, (size_t)n);
	}
	return 0;
}

/* Fills the temporary file and puts it in place of the old one. */
static int replace(const char *path, const char *temporary, int fd, const struct stat *old, struct str bytes)
{
	struct stat now;
	int err = write_all(fd, bytes);

	if (!err && fstat(fd, &now) < 0)
		err = -errno;
	if (!err && (now.st_uid != old->st_uid || now.st_gid != old->st_gid) && fchown(fd, old->st_uid, old->st_gid) < 0)
		err = -errno;
	if (!err && fchmod(fd, old->st_mode & 07777) < 0)
		err = -errno;
	if (!err && fsync(fd) < 0)
		err = -errno;
	if (!err && rename(temporary, path) < 0)
		err = -errno;
	return err;
}

static void sync_folder(const char *path)
{
	struct str folder = str_of(path);
	char *name = str_cstr(str_cut(folder, 0, str_find_last(folder, '/') + 1));
	int fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0) {
		(void)fsync(fd);
		close(fd);
	}
	free(name);
}

static int write_beside(const char *path, const struct stat *old, struct str bytes)
{
	struct buf temporary = BUF_INIT(8192);

	buf_addf(&temporary, "%s.XXXXXX", path);
	int fd = mkostemp(temporary.ptr, O_CLOEXEC);
	if (fd < 0) {
		int err = -errno;

		buf_done(&temporary);
		return err;
	}
	int err = replace(path, temporary.ptr, fd, old, bytes);
	if (err)
		(void)unlink(temporary.ptr);
	else
		sync_folder(path);
	close(fd);
	buf_done(&temporary);
	return err;
}

int file_edit(struct str path, const struct file_edit *edit)
{
	struct buf old = BUF_INIT(FILE_SIZE_MAX), new = BUF_INIT(FILE_SIZE_MAX);
	char *given = str_cstr(path), *real = realpath(given, NULL);
	int fd = real ? open(real, O_RDONLY | O_CLOEXEC) : -1;
	struct stat status;
	int err = fd < 0 || fstat(fd, &status) < 0 ? -errno : read_all(fd, &old);

	if (!err) {
		file_edit_text(buf_str(&old), edit, &new);
		err = edit->why && edit->why->len > 0 ? -ECANCELED : buf_check(&new);
	}
	if (!err && !str_eq(buf_str(&old), buf_str(&new)))
		err = write_beside(real, &status, buf_str(&new));
	if (fd >= 0)
		close(fd);
	free(given);
	free(real);
	buf_done(&old);
	buf_done(&new);
	return err;
}
