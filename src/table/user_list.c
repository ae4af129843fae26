/* SPDX-License-Identifier: Apache-2.0 */
#include "table/user_list.h"

#include <pwd.h>

#include "table/table.h"

int user_list_check(struct str users, uid_t uid, const struct view *v, struct buf *why)
{
	struct match_list *list;
	const struct passwd *pw;
	int result;

	/* The default: nobody is looked up. */
	if (str_eq(users, STR("static:anyone")))
		return 1;
	result = match_list_open(users, MATCH_USER, 0, v, &list, why);
	if (result)
		return result;
	pw = getpwuid(uid);
	result = match_list_check(list, pw ? str_of(pw->pw_name) : STR("unknown"), why);
	match_list_close(list);
	return result;
}
