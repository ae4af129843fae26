/* SPDX-License-Identifier: Apache-2.0 */
/* fail: every lookup is a temporary failure; for tests and for emergencies. */
#include <errno.h>

#include "table/table_internal.h"

static int fail_open(const struct table_type *type, struct str name, unsigned flags, const struct view *view,
                     struct table **ret_table, struct buf *why)
{
	*ret_table = mem_alloc(sizeof(struct table));
	return 0;
}

static int fail_find(struct table *t, struct str key, struct arena *a, struct str *ret_value, struct buf *why)
{
	buf_addf(why, "table %s: lookups fail by design", t->spec);
	return -EAGAIN;
}

const struct table_type table_fail = {"fail", false, fail_open, fail_find, NULL, NULL};
