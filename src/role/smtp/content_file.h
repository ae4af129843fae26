/* SPDX-License-Identifier: Apache-2.0 */
/* The files of the spool that qmgr opened for us, by name; each stays open while a delivery reads it. */
#pragma once

#include <stdint.h>

#include "base/map.h"

struct content_file;

/* All that one queue manager opened; a zeroed one is empty. */
struct content_files {
	struct map by_name;
};

/* A segment, or a large file when `large` is not 0. Takes the descriptor over. */
void content_file_add(struct content_files *files, uint32_t segment, uint32_t epoch, uint64_t large, int fd);
/* No delivery will name it again. */
void content_file_remove(struct content_files *files, uint32_t segment, uint32_t epoch, uint64_t large);
/* The queue manager is gone, and its names with it. */
void content_file_remove_all(struct content_files *files);
/* NULL if there is none. To be put back. */
struct content_file *content_file_get(const struct content_files *files, uint32_t segment, uint32_t epoch, uint64_t large);
void content_file_put(struct content_file *f);
int content_file_fd(const struct content_file *f);
