/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the lookup role remembers over restarts: an LMDB file in data_directory, tables of keys and
 * values. Only this role writes it; at a reload its old and its new process may both.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/base.h"
#include "base/buf.h"
#include "base/str.h"

/* May it stand for a domain in a key, and be asked for in the DNS? */
bool store_takes_domain(struct str domain);

enum store_table { STORE_STS, STORE_TLSRPT, STORE_TABLE_COUNT };

/* Once. A file that is no store any more is begun anew, with a line in `why` and 0. */
[[nodiscard]] int store_open(struct str folder, struct buf *why);
bool store_is_open(void);
/* -ENOENT when there is no such key. */
[[nodiscard]] int store_get(enum store_table t, struct str key, struct arena *a, struct str *ret_value);
/* The first entry at or behind `key`; its key in *ret_key. -ENOENT at the end. */
[[nodiscard]] int store_next(enum store_table t, struct str key, struct arena *a, struct str *ret_key, struct str *ret_value);

/* How many entries a table has; 0 when that cannot be told. */
size_t store_count(enum store_table t);

/* The new value for a key that has `old` ("": none). On a helper thread, and no other process changes the key meanwhile. */
typedef void store_make_fn(struct str old, struct buf *value, const void *arg);

struct store_change {
	enum store_table table;
	struct str key;
	struct str value;    /* absent: the key is removed */
	store_make_fn *make; /* or NULL: `value` comes from it */
	const void *arg;
};

/* All of them or none, on the disk when it returns. -ENOSPC, -EIO; waits even when cancelled. */
[[nodiscard]] int store_write(const struct store_change *changes, size_t count) WAITS;
