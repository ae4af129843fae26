/* SPDX-License-Identifier: Apache-2.0 */
/* postlog: the text of the arguments, or each line of standard input, as a line of the mail log. */
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd/command_log.h"
#include "cmd/commands.h"
#include "config/config.h"

static const struct {
	const char *name;
	enum log_level level;
} priorities[] = {
	{"info", LOG_LEVEL_INFO},   {"warn", LOG_LEVEL_WARN},   {"warning", LOG_LEVEL_WARN},
	{"error", LOG_LEVEL_ERROR}, {"fatal", LOG_LEVEL_FATAL}, {"panic", LOG_LEVEL_PANIC},
};

static int find_priority(const char *name, enum log_level *ret_level)
{
	for (size_t i = 0; i < COUNT_OF(priorities); i++) {
		if (!strcmp(priorities[i].name, name)) {
			*ret_level = priorities[i].level;
			return 0;
		}
	}
	log_error("unknown priority: %s; write info, warn, error, fatal or panic", name);
	return -1;
}

static void log_input(enum log_level level)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t len;

	while ((len = getline(&line, &size, stdin)) >= 0) {
		struct str text = str_trim(str_n(line, (size_t)len));

		log_tagged(STR(""), level, "%.*s", STR_ARG(text));
	}
	free(line);
}

static void log_arguments(enum log_level level, char **words)
{
	struct buf text = BUF_INIT(1 << 16);

	for (size_t i = 0; words[i]; i++)
		buf_addf(&text, "%s%s", i ? " " : "", words[i]);
	log_tagged(STR(""), level, "%s", buf_cstr(&text));
	buf_done(&text);
}

static int usage(void)
{
	fprintf(stderr, "usage: postlog [-iv] [-c config_dir] [-p priority] [-t tag] [text...]\n");
	return 1;
}

static void set_tag(const struct view *v, const char *tag)
{
	struct buf name = BUF_INIT(512);

	if (tag)
		buf_addf(&name, "%s", tag);
	else
		buf_addf(&name, "%.*s/postlog", STR_ARG(view_get(v, STR("syslog_name"))));
	log_set_tag(buf_str(&name));
	buf_done(&name);
}

int cmd_postlog(int argc, char **argv)
{
	const char *dir = NULL, *tag = getenv("MAIL_LOGTAG");
	enum log_level level = LOG_LEVEL_INFO;
	struct config *c;
	int option;

	while ((option = getopt(argc, argv, "c:ip:t:v")) != -1) {
		if (option == 'c')
			dir = optarg;
		else if (option == 't')
			tag = optarg;
		else if ((option == 'p' && find_priority(optarg, &level)) || option == '?')
			return usage();
	}
	c = config_load(command_config_dir(dir), NULL, 0);
	set_tag(config_main_view(c), tag);
	log_to_stderr(isatty(STDERR_FILENO));
	command_log_open(config_main_view(c));
	if (optind < argc)
		log_arguments(level, argv + optind);
	else
		log_input(level);
	log_flush();
	config_free(c);
	return 0;
}
