/* SPDX-License-Identifier: Apache-2.0 */
/* What postmap and postalias have in common: making, changing, asking and showing tables. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

struct config;

struct map_tool {
	const char *name; /* "postmap", for messages */
	bool is_alias;    /* sources are "name: value" */
	struct config *config;

	const char *query;       /* -q */
	const char *remove;      /* -d */
	bool shows_all;          /* -s */
	bool is_incremental;     /* -i */
	bool keeps_case;         /* -f */
	bool has_files;          /* -F: values name files, whose content is stored */
	bool has_no_nul;         /* -n */
	bool is_json;            /* -j */
	bool has_own_mode;       /* -p: 0644, whatever the source has */
	bool replaces;           /* -r */
	bool ignores_duplicates; /* -w */
	bool takes_any_bytes;    /* -u */
	bool reads_headers;      /* -h */
	bool reads_body;         /* -b */
	bool keeps_root;         /* -o */
};

/* Messages with the command's name in front, on stderr. */
void map_tool_warn(const struct map_tool *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
void map_tool_fatal(const struct map_tool *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Does what the options say for all tables; the exit status. */
int map_tool_run(struct map_tool *t, char **tables, size_t count);
/*
 * What root does to a table is done with the rights of the owner of `path`, whose folder it may be: he could put links to
 * other files in our way. False when that cannot be, and said why.
 */
[[nodiscard]] bool map_tool_become_owner(const struct map_tool *t, const char *path);
void map_tool_become_root(void);
/* Writing has failed: says why, and what else there is to do. */
void map_tool_write_failed(const struct map_tool *t, int err, const struct buf *why);
/* Makes one table from its source. The exit status. */
int map_tool_make(struct map_tool *t, struct str spec);
/* "type:name", with the default type in front if there is none. On the heap. */
char *map_tool_spec(const struct map_tool *t, struct str table);
