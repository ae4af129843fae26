/* SPDX-License-Identifier: Apache-2.0 */
/* Where the log goes: syslog, the file of maillog_file, or standard output in the foreground. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"
#include "role/master/master.h"

static bool has_allowed_prefix(struct str path, struct str prefixes)
{
	struct str prefix;

	while (str_next(&prefixes, ", \t\n", &prefix))
		if (str_starts(path, prefix) &&
		    (path.len == prefix.len || path.ptr[prefix.len] == '/' || str_ends(prefix, STR("/"))))
			return true;
	return false;
}

static int file_mode(struct str text, mode_t *ret_mode)
{
	mode_t mode = 0;

	if (!text.len || text.len > 4)
		return -EINVAL;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '7')
			return -EINVAL;
		mode = mode * 8 + (mode_t)(text.ptr[i] - '0');
	}
	*ret_mode = mode;
	return 0;
}

static int open_file(const struct view *v, struct str path, int *ret_fd, struct buf *why)
{
	struct str mode_text = view_get(v, STR("maillog_file_permissions"));
	mode_t mode = 0600;
	char *name;
	int err = 0;

	if (mode_text.len && file_mode(mode_text, &mode)) {
		buf_addf(why, "maillog_file_permissions = %.*s: write an octal mode such as 0640", STR_ARG(mode_text));
		return -EINVAL;
	}
	name = str_cstr(path);
	*ret_fd = open(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, mode);
	if (*ret_fd < 0) {
		err = -errno;
		buf_addf(why, "maillog_file: open %s: %s", name, strerror(-err));
	}
	free(name);
	return err;
}

int log_sink_open(struct master *m, const struct config *c, struct buf *why)
{
	const struct view *v = config_main_view(c);
	struct str path = view_get(v, STR("maillog_file")), prefixes = view_get(v, STR("maillog_file_prefixes"));
	int fd = -1, err = 0;

	if (path.len && !has_allowed_prefix(path, prefixes)) {
		buf_addf(why, "maillog_file = %.*s: lies under none of maillog_file_prefixes (%.*s); add its folder there",
		         STR_ARG(path), STR_ARG(prefixes));
		return -EINVAL;
	}
	if (str_eq(path, STR("/dev/stdout")) && !m->is_foreground) {
		buf_addf(why, "maillog_file = /dev/stdout needs `postfix start-fg`; with `postfix start` write a file name or "
		              "leave it empty");
		return -EINVAL;
	}
	if (str_eq(path, STR("/dev/stdout")))
		fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	else if (path.len)
		err = open_file(v, path, &fd, why);
	if (err)
		return err;
	log_open(fd >= 0 ? LOG_SINK_FD : LOG_SINK_SYSLOG, fd);
	if (m->log_fd >= 0)
		close(m->log_fd);
	m->log_fd = fd;
	return 0;
}

void log_sink_name(const struct config *c)
{
	struct buf tag = BUF_INIT(256);

	buf_addf(&tag, "%.*s/master", STR_ARG(view_get(config_main_view(c), STR("syslog_name"))));
	log_set_tag(buf_str(&tag));
	buf_done(&tag);
	log_set_facility(view_get(config_main_view(c), STR("syslog_facility")));
}
