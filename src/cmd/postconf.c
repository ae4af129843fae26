/* SPDX-License-Identifier: Apache-2.0 */
/* postconf: shows the configuration. */
#include <stdio.h>

#include "cmd/commands.h"
#include "config/config.h"

int cmd_postconf(int argc, char **argv)
{
	struct config *c = config_load(command_config_dir(argc > 2 ? argv[2] : NULL), NULL, 0);

	for (size_t i = 0; i < config_problem_count(c); i++) {
		struct buf line = BUF_INIT(4000);

		config_problem_format(&line, config_problem(c, i));
		fprintf(stderr, "postconf: %s\n", buf_cstr(&line));
		buf_done(&line);
	}
	config_free(c);
	return 0;
}
