/* SPDX-License-Identifier: Apache-2.0 */
/* What stands in for a table that could not be opened: every lookup fails for a while and says why. */
#include <errno.h>

#include "table/table_internal.h"

struct surrogate {
	struct table table;
	char *reason;
};

static int surrogate_find(struct table *t, struct str key, struct arena *a, struct str *ret_value, struct buf *why)
{
	buf_add(why, str_of(((struct surrogate *)t)->reason));
	return -EAGAIN;
}

static void surrogate_close(struct table *t)
{
	free(((struct surrogate *)t)->reason);
}

static const struct table_type table_surrogate = {"surrogate", true, NULL, surrogate_find, NULL, surrogate_close};

struct table *table_surrogate_new(struct str reason)
{
	struct surrogate *s = mem_alloc(sizeof(*s));

	s->table.type = &table_surrogate;
	s->table.is_fixed_key = true;
	s->reason = str_cstr(reason);
	return &s->table;
}
