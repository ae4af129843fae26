/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pattern tables: "/pattern/flags result" with $1 in the result. regexp and pcre differ in
 * the engine only.
 */
#pragma once

#include "table/rules.h"

enum { PATTERN_GROUPS = 100 };

/* A captured part of the subject; from == PATTERN_UNSET when the group took no part. */
#define PATTERN_UNSET ((size_t)-1)
struct span {
	size_t from;
	size_t to;
};

struct pattern_engine {
	/* `flags` are the letters behind the closing delimiter. *ret_groups: how many groups it captures. */
	int (*compile)(struct str pattern, struct str flags, void **ret_code, size_t *ret_groups, struct buf *why);
	/* 1 matched and spans 0..groups are set (from is PATTERN_UNSET where a group took no part), 0 not, <0 an error. */
	int (*match)(void *code, struct str subject, struct span *spans, struct buf *why);
	void (*free)(void *code);
};

[[nodiscard]] int pattern_open(const struct table_type *type, const struct pattern_engine *engine, struct str name,
                               unsigned flags, struct table **ret_table, struct buf *why);
int pattern_find(struct table *t, struct str key, struct arena *a, struct str *ret_value, struct buf *why);
void pattern_close(struct table *t);
