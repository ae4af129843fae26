/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/libexec.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static bool find_beside(struct buf *to, struct str folder, const char *way)
{
	size_t len;
	bool is_there;

	buf_reset(to);
	buf_addf(to, "%.*s/%s", STR_ARG(folder), way);
	len = to->len;
	buf_add(to, STR("/master"));
	is_there = !access(buf_cstr(to), X_OK);
	buf_cut(to, len);
	return is_there;
}

int libexec_find(struct buf *to)
{
	static char self[4096];
	const char *env = getenv("POSTRIDER_LIBEXEC");
	ssize_t size = readlink("/proc/self/exe", self, sizeof(self) - 1);
	struct str folder = str_n(self, size > 0 ? (size_t)size : 0);

	folder = str_cut(folder, 0, str_find_last(folder, '/'));
	if ((env && find_beside(to, str_of(env), ".")) || find_beside(to, folder, "../libexec/postrider") ||
	    find_beside(to, folder, "../../libexec/postrider") || find_beside(to, folder, "../lib/postrider"))
		return 0;
	return -ENOENT;
}
