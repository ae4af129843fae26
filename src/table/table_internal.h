/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the table types share. A type is a struct table_type and a struct that begins
 * with a struct table; table.c knows them all by name.
 */
#pragma once

#include <sys/types.h>
#include <time.h>

#include "table/table.h"

/* Identity of a file when it was opened, to see later that it was replaced. */
struct file_stamp {
	char *path; /* NULL: there is no file */
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime;
};

struct table_type {
	const char *name;
	bool is_fixed_key;
	/* `name` is what follows "type:". Sets *ret_table; the caller fills in the common part. */
	int (*open)(const struct table_type *type, struct str name, unsigned flags, const struct view *view,
	            struct table **ret_table, struct buf *why);
	/* The key is as the caller gave it; table.c folds it for types with is_fixed_key. */
	int (*find)(struct table *t, struct str key, struct arena *a, struct str *ret_value, struct buf *why);
	/* Optional. */
	int (*walk)(struct table *t, table_entry_fn *fn, void *arg);
	/* Releases what the type added; NULL if nothing. */
	void (*close)(struct table *t);
};

/* The common part, released by table_close(). */
struct table {
	const struct table_type *type;
	char *spec; /* "type:name" */
	unsigned flags;
	bool is_fixed_key;
	bool may_wait; /* lookups may suspend their fiber, and others come in meanwhile */
	struct file_stamp file;
	struct table **children; /* of wrappers */
	size_t child_count;
};

extern const struct table_type table_lmdb, table_hash, table_btree, table_texthash, table_inline, table_static, table_environ,
	table_fail, table_unix, table_cidr, table_regexp, table_pcre, table_proxy, table_debug, table_pipemap, table_unionmap,
	table_randmap, table_nis, table_socketmap, table_tcp;

/* Remembers the identity of an open file. */
void file_stamp_set(struct file_stamp *s, struct str path, int fd);
bool file_stamp_has_changed(const struct file_stamp *s);
void file_stamp_done(struct file_stamp *s);

/* Takes the place of a table that cannot be opened; the caller sets spec and flags. */
[[nodiscard]] struct table *table_surrogate_new(struct str reason);

/* The inside of "{...}" without blanks around it; false if the braces are missing. */
bool table_unbrace(struct str text, struct str *ret_inside);

/* "regexp map /etc/x, line 3: text", as one line of `why`. */
void table_warn(struct buf *why, struct str what, unsigned line, const char *fmt, ...) PRINTF_LIKE(4, 5);
