/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/command_log.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"

void command_log_open(const struct view *v)
{
	char *path = str_cstr(view_get(v, STR("maillog_file")));
	char host[256] = "localhost";
	struct str name;
	int fd = -1;

	if (gethostname(host, sizeof(host) - 1))
		host[0] = 0;
	name = str_of(host);
	name = str_cut(name, 0, str_find(name, '.'));
	log_set_facility(view_get(v, STR("syslog_facility")));
	/* The descriptor stays open until the command ends. */
	if (*path)
		fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY);
	if (fd >= 0)
		log_open(LOG_SINK_FD, fd, name);
	else
		log_open(*path ? LOG_SINK_NONE : LOG_SINK_SYSLOG, -1, name);
	free(path);
}
