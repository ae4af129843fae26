/* SPDX-License-Identifier: Apache-2.0 */
/* unix: the system's user and group data bases, as colon-separated records. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>

#include "table/table_internal.h"

enum { RECORD_MAX = 1 << 20 };

struct unix_table {
	struct table table;
	bool is_group;
};

static int unix_open(const struct table_type *type, struct str name, unsigned flags, const struct view *view,
                     struct table **ret_table, struct buf *why)
{
	bool is_group = str_eq(name, STR("group.byname"));
	struct unix_table *ut;

	if (!is_group && !str_eq(name, STR("passwd.byname"))) {
		buf_addf(why, "unknown table unix:%.*s; there are unix:passwd.byname and unix:group.byname", STR_ARG(name));
		return -EINVAL;
	}
	ut = mem_alloc(sizeof(*ut));
	ut->is_group = is_group;
	*ret_table = &ut->table;
	return 0;
}

static int ask_passwd(const char *key, char *space, size_t size, struct buf *record)
{
	struct passwd entry, *found = NULL;
	int err = getpwnam_r(key, &entry, space, size, &found);

	if (found)
		buf_addf(record, "%s:%s:%u:%u:%s:%s:%s", found->pw_name, found->pw_passwd, (unsigned)found->pw_uid,
		         (unsigned)found->pw_gid, found->pw_gecos, found->pw_dir, found->pw_shell);
	return err;
}

static int ask_group(const char *key, char *space, size_t size, struct buf *record)
{
	struct group entry, *found = NULL;
	int err = getgrnam_r(key, &entry, space, size, &found);

	if (!found)
		return err;
	buf_addf(record, "%s:%s:%u:", found->gr_name, found->gr_passwd, (unsigned)found->gr_gid);
	for (char **member = found->gr_mem; *member; member++)
		buf_addf(record, "%s%s", member == found->gr_mem ? "" : ",", *member);
	return err;
}

static int unix_find(struct table *t, struct str key, struct arena *a, struct str *ret_value, struct buf *why)
{
	bool is_group = ((struct unix_table *)t)->is_group;
	struct buf record = BUF_INIT(RECORD_MAX);
	char *name = arena_cstr(a, key);
	int err = ERANGE;

	for (size_t size = 2048; err == ERANGE && size <= RECORD_MAX; size *= 4) {
		char *space = mem_alloc(size);

		buf_reset(&record);
		err = (is_group ? ask_group : ask_passwd)(name, space, size, &record);
		free(space);
	}
	/* Some modules of the name service report a missing name as an error. */
	if (err == ENOENT || err == ESRCH)
		err = 0;
	if (err)
		buf_addf(why, "table %s: lookup of %s: %s", t->spec, name, strerror(err));
	else if (record.len == 0)
		err = ENOENT;
	else
		*ret_value = arena_str(a, buf_str(&record));
	buf_done(&record);
	return -err;
}

const struct table_type table_unix = {"unix", true, unix_open, unix_find, NULL, NULL};
