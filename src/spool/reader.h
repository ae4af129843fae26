/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The content of one message in the spool, read piece by piece. Bytes that the kernel holds in memory
 * come without waiting; others are fetched on a helper thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "fiber/fiber.h"

struct content {
	int fd;         /* of a segment or a large file; stays the caller's */
	uint64_t start; /* where it begins in the file */
	uint64_t size;
	uint64_t at; /* what content_read() gives next, from the start of the content */
};

/*
 * Reads up to `size` bytes into `to`: *ret_got is 0 only at the end. -EIO or another error of
 * the disk; -EBADMSG when the file ends too early.
 */
[[nodiscard]] int content_read(struct content *c, char *to, size_t size, size_t *ret_got) WAITS;
