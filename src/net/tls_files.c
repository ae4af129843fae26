/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_files.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"

struct tls_file {
	char *path;
	int fd;
};

struct tls_files {
	struct tls_file *all;
	size_t count;
};

enum { OPENED_MAX = 4096, FILE_SIZE_MAX = 16 << 20 };

static struct {
	struct opened {
		char *path;
		struct tls_stamp stamp;
	} * all;
	size_t count;
} opened;

bool tls_files_opened(size_t at, struct str *ret_path, struct tls_stamp *ret_stamp)
{
	if (at >= opened.count)
		return false;
	*ret_path = str_of(opened.all[at].path);
	*ret_stamp = opened.all[at].stamp;
	return true;
}

/* Before it is read: what changes in between is then seen as a change. */
void tls_files_note(const char *path)
{
	for (size_t i = 0; i < opened.count; i++)
		if (!strcmp(opened.all[i].path, path))
			return;
	if (opened.count == OPENED_MAX)
		return;
	opened.all = mem_resize(opened.all, (opened.count + 1) * sizeof(*opened.all));
	opened.all[opened.count++] = (struct opened){.path = mem_strdup(path), .stamp = tls_stamp_of(path)};
}

struct tls_files *tls_files_new(void)
{
	return mem_alloc(sizeof(struct tls_files));
}

void tls_files_free(struct tls_files *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->count; i++) {
		free(f->all[i].path);
		close(f->all[i].fd);
	}
	free(f->all);
	free(f);
}

void tls_files_add(struct tls_files *f, struct str path, int fd)
{
	f->all = mem_resize(f->all, (f->count + 1) * sizeof(*f->all));
	f->all[f->count++] = (struct tls_file){.path = str_cstr(path), .fd = fd};
}

/* A pipe would hold up the whole process, a device for ever. */
static bool is_good_file(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size <= FILE_SIZE_MAX;
}

/* Every reader begins at the start: the descriptor is shared by all who name the path. */
static BIO *open_descriptor(int fd)
{
	return !is_good_file(fd) || lseek(fd, 0, SEEK_SET) < 0 ? NULL : BIO_new_fd(fd, BIO_NOCLOSE);
}

/* NULL with errno. */
static BIO *open_path(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	FILE *f = fd >= 0 && is_good_file(fd) ? fdopen(fd, "r") : NULL;

	if (f)
		return BIO_new_fp(f, BIO_CLOSE);
	if (fd >= 0) {
		close(fd);
		errno = EINVAL;
	}
	return NULL;
}

BIO *tls_files_open(const struct tls_files *f, struct str path, struct buf *why)
{
	char *text = str_cstr(path);
	BIO *bio = NULL;
	int err = 0;

	for (size_t i = 0; f && i < f->count && !bio; i++)
		if (str_eq(path, str_of(f->all[i].path)))
			bio = open_descriptor(f->all[i].fd);
	if (!bio) {
		tls_files_note(text);
		bio = open_path(text);
		err = bio ? 0 : errno;
	}
	if (err)
		buf_addf(why, "cannot open %s: %s%s", text, err == EINVAL ? "it is no regular file, or too large" : strerror(err),
		         err == EACCES ? ": let the server start as root, or give its user the right to read this file" : "");
	ERR_clear_error();
	free(text);
	return bio;
}
