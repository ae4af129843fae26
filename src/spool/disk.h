/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing files at a place, whole, with -errno; and reading without waiting for the disk. */
#pragma once

#include <stdint.h>
#include <sys/uio.h>

#include "fiber/fiber.h"

/* Reads up to `size` bytes; fewer only at the end of the file. Blocks. */
[[nodiscard]] int disk_read(int fd, void *to, size_t size, uint64_t at, size_t *ret_got);
/* As disk_read(), but gives -EAGAIN when the kernel would have to fetch something. */
[[nodiscard]] int disk_read_cached(int fd, void *to, size_t size, uint64_t at, size_t *ret_got);
/* As disk_read(), on a helper thread when it would block. */
[[nodiscard]] int disk_read_waiting(int fd, void *to, size_t size, uint64_t at, size_t *ret_got) WAITS;
/* Blocks. -EIO when the kernel takes nothing. */
[[nodiscard]] int disk_write(int fd, const void *from, size_t size, uint64_t at);
/* The pieces one after the other; changes `iov`. Blocks. */
[[nodiscard]] int disk_write_pieces(int fd, struct iovec *iov, size_t count, uint64_t at);
[[nodiscard]] int disk_sync(int fd);
/* Makes the entries of a folder durable. */
[[nodiscard]] int disk_sync_folder(int folder_fd);
