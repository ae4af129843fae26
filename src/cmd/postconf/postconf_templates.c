/* SPDX-License-Identifier: Apache-2.0 */
/*
 * postconf -b and -t: the texts of delivery status reports, built in or from a file of
 *
 *	failure_template = <<END
 *	Header: value
 *
 *	text with $name in it
 *	END
 */
#include <errno.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/clock.h"
#include "cmd/postconf/postconf.h"
#include "config/expand.h"
#include "config/params.h"

enum { TEXT_MAX = 1 << 20, TEMPLATE_COUNT = 4 };

struct template
{
	struct str name; /* "failure" */
	struct str text; /* header, empty line, text; each line with its newline */
};

#define BEGIN "This is the mail system at host $myhostname.\n\n"
#define END \
	"\nFor help, write to postmaster and include this report.\n\n" \
	"                   The mail system\n"
#define FROM "Charset: us-ascii\nFrom: Mail Delivery System <MAILER-DAEMON>\n"

static const struct template built_in[TEMPLATE_COUNT] = {
	{STR("failure"), STR(FROM "Subject: Undelivered Mail Returned to Sender\n"
                                  "Postmaster-Subject: Postmaster Copy: Undelivered Mail\n\n" BEGIN
                                  "Your message could not be delivered to the recipients below, and no\n"
                                  "further attempt will be made. The message, or its header, is attached.\n" END)},
	{STR("delay"), STR(FROM "Subject: Delayed Mail (still being retried)\n"
                                "Postmaster-Subject: Postmaster Warning: Delayed Mail\n\n" BEGIN
                                "THIS IS A WARNING ONLY. YOU DO NOT NEED TO SEND YOUR MESSAGE AGAIN.\n\n"
                                "Your message could not be delivered for more than $delay_warning_time_hours hour(s).\n"
                                "Delivery will be tried until it is $maximal_queue_lifetime_days day(s) old.\n" END)},
	{STR("success"), STR(FROM "Subject: Successful Mail Delivery Report\n\n" BEGIN
                                  "Your message was delivered to the recipients below. Where it was passed on to\n"
                                  "another mail system, that one may still report a failure.\n" END)},
	{STR("verify"),
         STR(FROM "Subject: Mail Delivery Status Report\n\n" BEGIN "This is the delivery report that you asked for.\n" END)},
};

/* delay_warning_time_hours and its like; false for other names. */
static bool get_time(const struct view *v, struct str name, struct arena *a, struct str *ret_value)
{
	static const struct {
		struct str word;
		int64_t seconds;
	} units[] = {{STR("_seconds"), 1},
	             {STR("_minutes"), 60},
	             {STR("_hours"), 3600},
	             {STR("_days"), 86400},
	             {STR("_weeks"), 604800}};

	for (size_t i = 0; i < COUNT_OF(units); i++) {
		if (!str_ends(name, units[i].word))
			continue;
		struct str base = str_cut(name, 0, name.len - units[i].word.len);
		bool is_warning = str_eq(base, STR("delay_warning_time"));

		if (!is_warning && !str_eq(base, STR("maximal_queue_lifetime")))
			continue;
		struct duration time = is_warning ? v->params->delay_warning_time : v->params->maximal_queue_lifetime;
		*ret_value = arena_printf(a, "%lld", (long long)(time.ns / NS_PER_S / units[i].seconds));
		return true;
	}
	return false;
}

struct template_names {
	const struct view *view;
	struct arena *arena;
};

static int get_name(struct expand *e, struct str name, bool is_test, struct str *ret_value)
{
	const struct template_names *names = e->context;

	if (!get_time(names->view, name, names->arena, ret_value))
		*ret_value = view_get(names->view, name);
	return 0;
}

static struct str body_of(struct str text)
{
	size_t at = str_find_str(text, STR("\n\n"));

	return at < text.len ? str_from(text, at + 2) : STR("");
}

static int print_template(const struct view *v, const struct template *t, bool is_expanded, struct arena *a)
{
	struct template_names names = {v, a};
	struct expand e = {.get = get_name, .context = &names};
	struct buf text = BUF_INIT(TEXT_MAX);
	int status = 0;

	if (!is_expanded)
		printf("%.*s_template = <<EOF\n%.*sEOF\n", STR_ARG(t->name), STR_ARG(t->text));
	else if (expand_text(&e, body_of(t->text), &text))
		status = postconf_fatal("%.*s_template: %s", STR_ARG(t->name), e.why);
	else
		printf("expanded_%.*s_text = <<EOF\n%.*sEOF\n", STR_ARG(t->name), STR_ARG(buf_str(&text)));
	buf_done(&text);
	return status;
}

static struct str take_line(struct str *rest)
{
	size_t end = str_find(*rest, '\n');
	struct str line = str_cut(*rest, 0, end);

	*rest = str_from(*rest, end + 1);
	return line;
}

static int set_template(struct template *templates, struct str name, struct str text)
{
	for (size_t i = 0; i < TEMPLATE_COUNT; i++)
		if (str_ends(name, STR("_template")) && str_eq(str_cut(name, 0, name.len - 9), templates[i].name)) {
			templates[i].text = text;
			return 0;
		}
	return postconf_fatal(
		"unknown template \"%.*s\"; the names are failure_template, delay_template, success_template, verify_template",
		STR_ARG(name));
}

static int parse(struct str bytes, struct template *templates)
{
	int status = 0;

	while (bytes.len > 0 && status == 0) {
		struct str line = str_trim(take_line(&bytes)), name, end;

		if (str_is_empty(line) || line.ptr[0] == '#')
			continue;
		if (!str_split(line, '=', &name, &end) || !str_starts(str_trim(end), STR("<<")))
			return postconf_fatal("bad line in a template file: \"%.*s\"; write name_template = <<EOF",
			                      STR_ARG(line));
		end = str_trim(str_from(str_trim(end), 2));
		const char *start = bytes.ptr;
		struct str text = {0};
		while (bytes.len > 0 && !text.ptr) {
			const char *here = bytes.ptr;

			if (str_eq(str_trim(take_line(&bytes)), end))
				text = str_n(start, (size_t)(here - start));
		}
		if (!text.ptr)
			return postconf_fatal("template %.*s has no end line \"%.*s\"", STR_ARG(str_trim(name)), STR_ARG(end));
		status = set_template(templates, str_trim(name), text);
	}
	return status;
}

/* A template file may leave out headers; those of the built-in text stand in for them when mail is sent. */
static int read_templates(struct str path, struct buf *bytes, struct template *templates)
{
	char *name = str_cstr(path);
	FILE *file = fopen(name, "r");
	int status = 0;

	if (!file)
		status = postconf_fatal("open %s: %s", name, strerror(errno));
	for (size_t n = 1; file && n > 0;) {
		char *room = buf_room(bytes, 4096);

		n = room ? fread(room, 1, 4096, file) : 0;
		buf_added(bytes, n);
	}
	if (file)
		fclose(file);
	free(name);
	return status ? status : parse(buf_str(bytes), templates);
}

int postconf_templates(const struct postconf *pc, const char *file, bool is_expanded)
{
	struct config *c = config_load_with(pc->dir, pc->overrides, pc->override_count, CONFIG_WITHOUT_ADVICE);
	const struct view *v = config_main_view(c);
	struct template templates[TEMPLATE_COUNT];
	struct buf bytes = BUF_INIT(TEXT_MAX);
	struct arena arena = ARENA_INIT;
	int status = postconf_problems(pc, c);

	memcpy(templates, built_in, sizeof(templates));
	struct str path = file ? str_of(file) : view_get(v, STR("bounce_template_file"));
	if (status == 0 && !str_is_empty(path))
		status = read_templates(path, &bytes, templates);
	for (size_t i = 0; i < TEMPLATE_COUNT && status == 0; i++) {
		if (i > 0)
			putchar('\n');
		status = print_template(v, &templates[i], is_expanded, &arena);
	}
	arena_done(&arena);
	buf_done(&bytes);
	config_free(c);
	return status;
}
