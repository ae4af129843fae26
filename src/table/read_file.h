/* SPDX-License-Identifier: Apache-2.0 */
/* A table source as one piece of memory. */
#pragma once

#include "base/buf.h"
#include "base/str.h"

struct file_stamp;

enum { TABLE_FILE_MAX = 512 << 20 };

/* Reads a whole file, and remembers its identity in `stamp` unless that is NULL. -errno with a text in `why`. */
[[nodiscard]] int read_table_file(struct str path, struct buf *to, struct file_stamp *stamp, struct buf *why);
