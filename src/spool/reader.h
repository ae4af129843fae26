/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The deliverers' side of the spool: the files that qmgr opened for them, and the
 * content of one message read piece by piece. Bytes that the kernel holds in memory
 * come without waiting; others are fetched on a helper thread.
 */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/map.h"
#include "fiber/fiber.h"

/* The open files of a deliverer. A zeroed struct is ready for use. */
struct spool_files {
	struct map files;
};

/* SEGMENT_OPEN and LARGE_OPEN came: takes `fd` over. A file of the same name is replaced. */
void spool_files_add_segment(struct spool_files *f, uint32_t segment, uint32_t epoch, int fd);
void spool_files_add_large(struct spool_files *f, uint64_t number, int fd);
/* SEGMENT_CLOSE and LARGE_CLOSE came; the file stays open for content that is being read. */
void spool_files_remove_segment(struct spool_files *f, uint32_t segment, uint32_t epoch);
void spool_files_remove_large(struct spool_files *f, uint64_t number);
void spool_files_done(struct spool_files *f);

/* The content of one message; read it any number of times. */
struct content {
	struct spool_file *file;
	uint64_t start; /* where it begins in the file */
	uint64_t size;
	uint64_t at; /* what content_read() gives next, from the start of the content */
};

/* The fields of a DELIVER message. -ENOENT: qmgr has not opened that file here. */
[[nodiscard]] int content_open(struct content *c, struct spool_files *f, uint32_t segment, uint32_t epoch,
	uint64_t large, uint64_t content_at, uint64_t content_size);
/* From a plain file, for content that is in no spool; `fd` stays the caller's. */
void content_open_fd(struct content *c, int fd, uint64_t start, uint64_t size);
/*
 * Reads up to `size` bytes into `to`: *ret_got is 0 only at the end. -EIO or another error of
 * the disk; -EBADMSG when the file ends too early.
 */
[[nodiscard]] int content_read(struct content *c, char *to, size_t size, size_t *ret_got) WAITS;
/* From byte `at` on again. */
void content_seek(struct content *c, uint64_t at);
void content_close(struct content *c);
