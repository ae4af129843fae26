/* SPDX-License-Identifier: Apache-2.0 */
/* The master process. `postfix start` runs it; by hand: master -c DIR [-f] [-k] [-n FD]. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "role/master/master.h"

/* The roles lie beside master, under the name it was started by. */
static char *own_folder(const char *program)
{
	struct str path = str_of(program);
	size_t slash = str_find_last(path, '/');

	char *folder = str_cstr(slash < path.len ? str_cut(path, 0, slash) : STR("."));
	char *whole = realpath(folder, NULL);

	if (!whole)
		return folder;
	free(folder);
	return whole;
}

int main(int argc, char **argv)
{
	static struct master m = {.notify_fd = -1, .log_fd = -1, .snapshot_fd = -1};
	int option;

	while ((option = getopt(argc, argv, "c:fkn:")) != -1) {
		if (option == 'c')
			m.config_dir = str_of(optarg);
		else if (option == 'f')
			m.is_foreground = true;
		else if (option == 'k')
			m.has_been_checked = true;
		else if (option == 'n')
			m.notify_fd = (int)strtol(optarg, NULL, 10);
		else
			return 2;
	}
	if (!m.config_dir.len) {
		fprintf(stderr, "master: a process of Postrider %s; `postfix start` starts it.\n", POSTRIDER_VERSION);
		return 1;
	}
	log_set_tag(STR("postfix/master"));
	log_to_stderr(true);
	m.libexec = own_folder(argv[0]);
	return master_run(&m);
}
