/* SPDX-License-Identifier: Apache-2.0 */
/* One program for all commands: called by the name of one, or as `postrider NAME`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cmd/commands.h"

static const struct command {
	const char *name;
	const char *brief;
	const char *usage;
	int (*run)(int argc, char **argv);
} commands[] = {
#define COMMAND(name, brief, usage) {#name, brief, usage, cmd_##name},
#include "cmd/commands.def"
#undef COMMAND
};

struct str command_config_dir(const char *option)
{
	const char *env = getenv("MAIL_CONFIG");

	if (option)
		return str_of(option);
	return env && *env ? str_of(env) : STR("/etc/postfix");
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < COUNT_OF(commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static int help(FILE *to)
{
	fprintf(to, "postrider %s\n\nusage: postrider COMMAND [ARGUMENT...]\n\n", POSTRIDER_VERSION);
	for (size_t i = 0; i < COUNT_OF(commands); i++)
		fprintf(to, "  %-12s %s\n", commands[i].name, commands[i].brief);
	return to == stderr ? 1 : 0;
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	const char *name = slash ? slash + 1 : argv[0];
	const struct command *command = find_command(name);

	if (!command && argc > 1) {
		argc--;
		argv++;
		if (strcmp(argv[0], "help") == 0 || strcmp(argv[0], "--help") == 0)
			return help(stdout);
		command = find_command(argv[0]);
		if (!command)
			fprintf(stderr, "postrider: unknown command %s\n", argv[0]);
	}
	if (!command)
		return help(stderr);
	if (argc > 1 && *command->usage && strcmp(argv[1], "--help") == 0) {
		printf("usage: %s\n\n%s: %s\n", command->usage, command->name, command->brief);
		return 0;
	}
	log_set_tag(str_of(command->name));
	log_open(LOG_SINK_NONE, -1);
	log_to_stderr(true);
	int status = command->run(argc, argv);
	return fflush(stdout) == 0 ? status : 1;
}
