/* SPDX-License-Identifier: Apache-2.0 */
/* postconf: shows and edits main.cf and master.cf, with the options and the output that operators know. */
#include "cmd/postconf/postconf.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/opensslv.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cmd/commands.h"
#include "table/table.h"

static const char usage[] =
	"usage: postconf [-c DIR] [-defhHjnopqvxX#] [-C CLASS,...] [-o NAME=VALUE] [NAME | NAME=VALUE ...]\n"
	"       postconf -M | -F | -P [-c DIR] [-efhHjxX#] [SERVICE[/TYPE[/FIELD-OR-PARAMETER]][=VALUE] ...]\n"
	"       postconf -a | -A | -l | -m | -b [FILE] | -t [FILE] | -T MODE\n";

PRINTF_LIKE(2, 0) static void say(const char *what, const char *fmt, va_list args)
{
	fprintf(stderr, "postconf: %s: ", what);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
}

void postconf_warn(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say("warning", fmt, args);
	va_end(args);
}

int postconf_fatal(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say("fatal", fmt, args);
	va_end(args);
	return 1;
}

bool postconf_problems(const struct postconf *pc, const struct config *c)
{
	bool is_broken = false;

	for (size_t i = 0; i < config_problem_count(c); i++) {
		const struct config_problem *p = config_problem(c, i);
		struct buf text = BUF_INIT(8192);

		/* Parameters can be shown without services. */
		is_broken |= p->is_syntax && (pc->object != OBJECT_MAIN || !str_ends(p->origin.file, STR("/master.cf")));
		config_problem_format(&text, p);
		if (!pc->is_quiet || p->is_error)
			fprintf(stderr, "postconf: %s\n", buf_cstr(&text));
		buf_done(&text);
	}
	return is_broken;
}

static int print_words(const char *words)
{
	struct str rest = str_of(words), word;

	while (str_next(&rest, " ", &word))
		printf("%.*s\n", STR_ARG(word));
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static int print_tables(void)
{
	struct str names[100];
	size_t count = 0;

	while (count < COUNT_OF(names) && table_type_name(count, &names[count]))
		count++;
	qsort(names, count, sizeof(*names), compare_names);
	for (size_t i = 0; i < count; i++)
		printf("%.*s\n", STR_ARG(names[i]));
	return 0;
}

static int print_about(const char *mode)
{
	static const char *const algorithms[] = {"dsa", "ecdsa", "rsa"};

	if (strcmp(mode, "compile-version") == 0) {
		puts(OPENSSL_VERSION_TEXT);
	} else if (strcmp(mode, "run-version") == 0) {
		puts(OpenSSL_version(OPENSSL_VERSION));
	} else if (strcmp(mode, "public-key-algorithms") == 0) {
		for (size_t i = 0; i < COUNT_OF(algorithms); i++)
			if (EVP_PKEY_asn1_find_str(NULL, strcmp(algorithms[i], "ecdsa") == 0 ? "EC" : algorithms[i], -1))
				puts(algorithms[i]);
	} else {
		postconf_warn("unknown 'postconf -T' mode: %s", mode);
	}
	return 0;
}

static int read_classes(struct postconf *pc, const char *text)
{
	static const struct {
		struct str name;
		unsigned bits;
	} classes[] = {
		{STR("builtin"), CLASS_BUILTIN},
		{STR("service"), CLASS_SERVICE},
		{STR("user"), CLASS_USER},
		{STR("all"), CLASS_ALL},
	};
	struct str rest = str_of(text), word;

	pc->classes = 0;
	while (str_next(&rest, ", \t", &word)) {
		unsigned bits = 0;

		for (size_t i = 0; i < COUNT_OF(classes); i++)
			if (str_eq(classes[i].name, word))
				bits = classes[i].bits;
		if (bits == 0)
			return postconf_fatal("unknown -C option value \"%.*s\" in \"%s\"", STR_ARG(word), text);
		pc->classes |= bits;
	}
	return 0;
}

static int set_object(struct postconf *pc, char letter, char *given)
{
	if (*given && *given != letter)
		return postconf_fatal("specify one of -%c -%c", *given, letter);
	pc->has_unset = *given == 'P';
	*given = letter;
	pc->object = letter == 'M'   ? OBJECT_SERVICE
	             : letter == 'F' ? OBJECT_FIELD
	             : letter == 'P' ? OBJECT_SERVICE_PARAM
	                             : OBJECT_MAIN;
	return 0;
}

static int set_action(struct postconf *pc, char letter, char *given)
{
	if (*given && *given != letter)
		return postconf_fatal("specify one of -%c -%c", *given, letter);
	*given = letter;
	pc->action = letter == 'e' ? ACTION_EDIT : letter == 'X' ? ACTION_REMOVE : ACTION_COMMENT;
	return 0;
}

/* The options that only turn something on. */
static bool set_switch(struct postconf *pc, int letter)
{
	const struct {
		char letter;
		bool *to;
	} switches[] = {
		{'d', &pc->is_default},    {'n', &pc->is_set_only},  {'x', &pc->is_expanded}, {'f', &pc->is_folded},
		{'h', &pc->is_value_only}, {'H', &pc->is_name_only}, {'j', &pc->is_json},     {'q', &pc->is_quiet},
	};

	for (size_t i = 0; i < COUNT_OF(switches); i++)
		if (switches[i].letter == letter) {
			*switches[i].to = true;
			return true;
		}
	return letter == 'v';
}

/* What else postconf can be asked, and its argument. */
struct query {
	int letter; /* a A b l m t T, or 0 */
	const char *mode;
};

static int read_options(struct postconf *pc, int argc, char **argv, struct query *query)
{
	char object = 0, action = 0;
	const char *dir = NULL;
	int letter, status = 0;

	optind = 1;
	while (status == 0 && (letter = getopt(argc, argv, "aAbc:C:deEfFhHjlmMno:pPqtT:vxX#")) != -1) {
		if (set_switch(pc, letter))
			continue;
		if (strchr("aAblmtT", letter))
			*query = (struct query){letter, optarg};
		else if (strchr("MFPp", letter))
			status = set_object(pc, (char)letter, &object);
		else if (strchr("eX#", letter))
			status = set_action(pc, (char)letter, &action);
		else if (letter == 'c')
			dir = optarg;
		else if (letter == 'C')
			status = read_classes(pc, optarg);
		else if (letter == 'o' && pc->override_count < OVERRIDE_MAX)
			pc->overrides[pc->override_count++] = str_of(optarg);
		else if (letter == '?')
			status = fputs(usage, stderr) < 0 ? 2 : 1;
	}
	pc->dir = command_config_dir(dir);
	pc->is_dir_given = dir || (getenv("MAIL_CONFIG") && *getenv("MAIL_CONFIG"));
	pc->args = argv + optind;
	pc->arg_count = (size_t)(argc - optind);
	return status;
}

static int check_options(const struct postconf *pc)
{
	if (pc->is_default && pc->is_set_only)
		return postconf_fatal("specify one of -d -n");
	if (pc->is_value_only && pc->is_name_only)
		return postconf_fatal("specify one of -h -H");
	if (pc->object == OBJECT_SERVICE && pc->is_value_only)
		return postconf_fatal("with option -M, do not specify -h");
	if (pc->object == OBJECT_SERVICE && pc->is_name_only)
		return postconf_fatal("with option -M, do not specify -H");
	return 0;
}

/* An argument with '=' asks for an edit even without -e. */
static void imply_edit(struct postconf *pc)
{
	for (size_t i = 0; i < pc->arg_count && pc->action == ACTION_SHOW; i++)
		if (strchr(pc->args[i], '='))
			pc->action = ACTION_EDIT;
}

static int answer(const struct postconf *pc, const struct query *query)
{
	switch (query->letter) {
	case 'a':
		return print_words("builtin cyrus dovecot");
	case 'A':
		return print_words("");
	case 'l':
		return print_words("flock fcntl dotlock");
	case 'm':
		return print_tables();
	case 'T':
		return print_about(query->mode);
	default:
		return postconf_templates(pc, pc->arg_count > 0 ? pc->args[0] : NULL, query->letter == 'b');
	}
}

int cmd_postconf(int argc, char **argv)
{
	struct postconf *pc = mem_alloc(sizeof(*pc));
	struct query query = {0};

	pc->classes = CLASS_ALL;
	int status = read_options(pc, argc, argv, &query);
	if (status == 0)
		status = check_options(pc);
	if (status == 0 && query.letter) {
		status = answer(pc, &query);
	} else if (status == 0) {
		imply_edit(pc);
		if (pc->action != ACTION_SHOW)
			status = postconf_edit(pc);
		else
			status = pc->object == OBJECT_MAIN ? postconf_show_main(pc) : postconf_show_services(pc);
	}
	free(pc);
	return status;
}
