/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_files.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
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

enum { OPENED_MAX = 4096 };

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
static void note_opened(const char *path)
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

/* Every reader begins at the start: the descriptor is shared by all who name the path. */
static BIO *open_descriptor(int fd)
{
	return lseek(fd, 0, SEEK_SET) < 0 ? NULL : BIO_new_fd(fd, BIO_NOCLOSE);
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
		note_opened(text);
		bio = BIO_new_file(text, "r");
		err = bio ? 0 : access(text, R_OK) ? errno : EIO;
	}
	if (err)
		buf_addf(why, "cannot open %s: %s%s", text, strerror(err),
		         err == EACCES ? ": let the server start as root, or give its user the right to read this file" : "");
	ERR_clear_error();
	free(text);
	return bio;
}
