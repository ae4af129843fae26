/* SPDX-License-Identifier: Apache-2.0 */
/* postrider password: what smtpd_sasl_builtin_maps hold for a password. */
#include <crypt.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/random.h"
#include "cmd/commands.h"
#include "sasl/password.h"

enum { ITERATIONS = 10000, SALT_SIZE = 16, LINE_MAX_SIZE = 1024 };

static const char usage[] = "usage: postrider password [-s SCHEME] [-i ITERATIONS]\n"
			    "\n"
			    "Reads a password from the terminal, or one line of standard input, and prints the value that\n"
			    "smtpd_sasl_builtin_maps hold for it.\n"
			    "\n"
			    "  -s SCHEME      SCRAM-SHA-256 (default; also good for PLAIN and LOGIN), SCRAM-SHA-1, CRYPT, PLAIN\n"
			    "  -i ITERATIONS  of SCRAM; 10000 by default\n";

struct wish {
	enum secret_kind kind;
	unsigned iterations;
};

static int parse_options(struct wish *w, int argc, char **argv)
{
	static const struct {
		const char *name;
		enum secret_kind kind;
	} schemes[] = {{"SCRAM-SHA-256", SECRET_SCRAM_SHA_256},
	               {"SCRAM-SHA-1", SECRET_SCRAM_SHA_1},
	               {"CRYPT", SECRET_CRYPT},
	               {"PLAIN", SECRET_PLAIN}};
	unsigned long long number;
	int option;

	while ((option = getopt(argc, argv, "s:i:")) != -1) {
		size_t i = 0;

		if (option == 'i') {
			if (str_parse_u64(str_of(optarg), &number) || number < 4096 || number > SCRAM_ITERATIONS_MAX) {
				fprintf(stderr, "postrider password: iterations are a number from 4096 to %d\n",
				        (int)SCRAM_ITERATIONS_MAX);
				return -1;
			}
			w->iterations = (unsigned)number;
			continue;
		}
		while (option == 's' && i < COUNT_OF(schemes) && !str_eq_nocase(str_of(optarg), str_of(schemes[i].name)))
			i++;
		if (option != 's' || i == COUNT_OF(schemes)) {
			fputs(usage, stderr);
			return -1;
		}
		w->kind = schemes[i].kind;
	}
	if (optind < argc) {
		fputs(usage, stderr);
		return -1;
	}
	return 0;
}

static bool read_line(const char *prompt, char line[LINE_MAX_SIZE + 2])
{
	struct termios before, silent;
	bool is_terminal = isatty(STDIN_FILENO) && !tcgetattr(STDIN_FILENO, &before);
	bool has_line;

	if (is_terminal) {
		silent = before;
		silent.c_lflag &= ~(tcflag_t)ECHO;
		fputs(prompt, stderr);
		(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
	}
	has_line = fgets(line, LINE_MAX_SIZE + 2, stdin);
	if (is_terminal) {
		(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
		fputc('\n', stderr);
	}
	if (has_line)
		line[strcspn(line, "\r\n")] = '\0';
	return has_line && line[0] && strlen(line) <= LINE_MAX_SIZE;
}

static bool read_password(char password[LINE_MAX_SIZE + 2])
{
	char again[LINE_MAX_SIZE + 2];
	bool is_good = read_line("Password: ", password);

	if (!is_good) {
		fprintf(stderr, "postrider password: no password, or one of more than %d bytes\n", (int)LINE_MAX_SIZE);
	} else if (isatty(STDIN_FILENO)) {
		is_good = read_line("Again: ", again) && strcmp(password, again) == 0;
		explicit_bzero(again, sizeof(again));
		if (!is_good)
			fprintf(stderr, "postrider password: these are two passwords\n");
	}
	return is_good;
}

static int print_crypt(const char *password)
{
	struct crypt_data *data = calloc(1, sizeof(*data));
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];
	const char *hash = NULL;

	if (data && crypt_gensalt_rn(NULL, 0, NULL, 0, setting, sizeof(setting)))
		hash = crypt_rn(password, setting, data, sizeof(*data));
	if (hash)
		printf("%s\n", hash);
	else
		fprintf(stderr, "postrider password: crypt(3) fails\n");
	if (data)
		explicit_bzero(data, sizeof(*data));
	free(data);
	return hash ? 0 : 1;
}

static int print_scram(const struct wish *w, const char *password)
{
	struct scram_keys keys = {.iterations = w->iterations, .salt_size = SALT_SIZE};
	struct buf text = BUF_INIT(1000);

	random_bytes(keys.salt, keys.salt_size);
	scram_derive(w->kind, str_of(password), &keys);
	secret_format_scram(&text, w->kind, &keys);
	printf("%s\n", buf_cstr(&text));
	explicit_bzero(&keys, sizeof(keys));
	buf_done(&text);
	return 0;
}

int cmd_password(int argc, char **argv)
{
	struct wish w = {.kind = SECRET_SCRAM_SHA_256, .iterations = ITERATIONS};
	char password[LINE_MAX_SIZE + 2];
	int status = 0;

	if (parse_options(&w, argc, argv) || !read_password(password))
		return 1;
	if (w.kind == SECRET_PLAIN)
		printf("{PLAIN}%s\n", password);
	else if (w.kind == SECRET_CRYPT)
		status = print_crypt(password);
	else
		status = print_scram(&w, password);
	explicit_bzero(password, sizeof(password));
	return status;
}
