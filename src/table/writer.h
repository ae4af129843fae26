/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making and changing the LMDB file of an lmdb, hash or btree table. Work happens on a
 * new file that replaces the old one at commit, so readers see the old or the new
 * table and never a half of one.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/str.h"

struct table_writer;

/* Can tables of this "type:name" be written? */
bool table_is_writable(struct str spec);
/* `is_fresh` starts empty, with that mode; otherwise present content and mode are taken over (-ENOENT if there is none). */
[[nodiscard]] int table_writer_open(struct str spec, bool is_fresh, mode_t mode, struct table_writer **ret_writer,
                                    struct buf *why);
/* -EEXIST if the key is there and `is_replacing` is false; nothing is changed then. */
[[nodiscard]] int table_writer_put(struct table_writer *w, struct str key, struct str value, bool is_replacing, struct buf *why);
/* -ENOENT if there is no such key. */
[[nodiscard]] int table_writer_remove(struct table_writer *w, struct str key, struct buf *why);
/* Makes it durable and puts it in place. Releases the writer in any case. */
[[nodiscard]] int table_writer_commit(struct table_writer *w, struct buf *why);
/* Gives up; the table stays as it was. */
void table_writer_abort(struct table_writer *w);
