/* SPDX-License-Identifier: Apache-2.0 */
/* postmap, postalias and newaliases: their options. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/commands.h"
#include "cmd/map_tool.h"
#include "config/config.h"

static int usage(const struct map_tool *t)
{
	map_tool_fatal(t, "usage: %s [-%s] [-c config_dir] [-d key] [-q key] [map_type:]file...", t->name,
	               t->is_alias ? "fijNnoprsuvw" : "bfFhijmnNoprsuUvw");
	return 1;
}

/* One option; false if there is no such. */
static bool set_option(struct map_tool *t, int option)
{
	switch (option) {
	case 'q':
		t->query = optarg;
		break;
	case 'd':
		t->remove = optarg;
		break;
	case 's':
		t->shows_all = true;
		break;
	case 'i':
		t->is_incremental = true;
		break;
	case 'f':
		t->keeps_case = true;
		break;
	case 'F':
		t->has_files = true;
		break;
	case 'n':
		t->has_no_nul = true;
		break;
	case 'N':
		t->has_no_nul = false;
		break;
	case 'j':
		t->is_json = true;
		break;
	case 'p':
		t->has_own_mode = true;
		break;
	case 'r':
		t->replaces = true;
		break;
	case 'w':
		t->ignores_duplicates = true;
		break;
	case 'u':
		t->takes_any_bytes = true;
		break;
	case 'h':
		t->reads_headers = true;
		break;
	case 'b':
		t->reads_body = true;
		break;
	case 'o':
		t->keeps_root = true;
		break;
	case 'm': /* MIME structure: body parts' headers are read as body lines here */
	case 'U':
	case 'v':
		break;
	default:
		return false;
	}
	return true;
}

static int run(struct map_tool *t, int argc, char **argv, const char *options)
{
	const char *dir = NULL;
	int option, status;

	optind = 1;
	while ((option = getopt(argc, argv, options)) != -1) {
		if (option == 'c')
			dir = optarg;
		else if (!set_option(t, option))
			return usage(t);
	}
	if (optind >= argc)
		return usage(t);
	if ((t->query != NULL) + (t->remove != NULL) + t->shows_all > 1) {
		map_tool_fatal(t, "specify only one of -s or -q or -d");
		return 1;
	}
	t->config = config_load(command_config_dir(dir), NULL, 0);
	status = map_tool_run(t, argv + optind, (size_t)(argc - optind));
	config_free(t->config);
	return status;
}

int cmd_postmap(int argc, char **argv)
{
	struct map_tool t = {.name = "postmap"};

	return run(&t, argc, argv, "bc:d:fFhijmnNopq:rsuUvw");
}

int cmd_postalias(int argc, char **argv)
{
	struct map_tool t = {.name = "postalias", .is_alias = true};

	return run(&t, argc, argv, "c:d:fijnNopq:rsuvw");
}

/* All tables of alias_database, or the one of -oA. Options of sendmail that mean nothing here are ignored. */
int cmd_newaliases(int argc, char **argv)
{
	struct map_tool t = {.name = "newaliases", .is_alias = true};
	const char *dir = NULL, *only = NULL;
	struct str list, table;
	int status = 0;

	for (int i = 1; i < argc; i++) {
		if (strncmp(argv[i], "-oA", 3) == 0 && argv[i][3])
			only = argv[i] + 3;
		else if (strcmp(argv[i], "-C") == 0 && i + 1 < argc)
			dir = argv[++i];
		else if (strncmp(argv[i], "-C", 2) == 0 && argv[i][2])
			dir = argv[i] + 2;
	}
	t.config = config_load(command_config_dir(dir), NULL, 0);
	list = only ? str_of(only) : view_get(config_main_view(t.config), STR("alias_database"));
	while (str_next_braced(&list, ", \t\r\n", &table)) {
		char *spec = map_tool_spec(&t, table);

		status |= map_tool_make(&t, str_of(spec));
		free(spec);
	}
	config_free(t.config);
	return status;
}
