/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/command_log.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"

void command_log_open(const struct view *v)
{
	char *path = str_cstr(view_get(v, STR("maillog_file")));
	int fd = -1;

	log_set_facility(view_get(v, STR("syslog_facility")));
	/* The descriptor stays open until the command ends. */
	if (*path)
		fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY);
	if (fd >= 0)
		log_open(LOG_SINK_FD, fd);
	else
		log_open(*path ? LOG_SINK_NONE : LOG_SINK_SYSLOG, -1);
	free(path);
}
