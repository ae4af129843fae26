/* SPDX-License-Identifier: Apache-2.0 */
#include "config/bounce_template.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "config/config.h"
#include "config/expand.h"
#include "config/params.h"
#include "mail/address.h"

enum { FILE_MAX = 1 << 20 };

#define BEGIN "This is the mail system at host $myhostname.\n\n"
#define END \
	"\nFor help, write to postmaster and include this report.\n\n" \
	"                   The mail system\n"
#define FROM "Charset: us-ascii\nFrom: Mail Delivery System <MAILER-DAEMON>\n"

static const struct {
	struct str name, source;
} built_in[REPORT_KIND_COUNT] = {
	[REPORT_FAILURE] = {STR("failure"),
                            STR(FROM "Subject: Undelivered Mail Returned to Sender\n"
                                     "Postmaster-Subject: Postmaster Copy: Undelivered Mail\n\n" BEGIN
                                     "Your message could not be delivered to the recipients below, and no\n"
                                     "further attempt will be made. The message, or its header, is attached.\n" END)},
	[REPORT_DELAY] = {STR("delay"),
                          STR(FROM "Subject: Delayed Mail (still being retried)\n"
                                   "Postmaster-Subject: Postmaster Warning: Delayed Mail\n\n" BEGIN
                                   "THIS IS A WARNING ONLY. YOU DO NOT NEED TO SEND YOUR MESSAGE AGAIN.\n\n"
                                   "Your message could not be delivered for more than $delay_warning_time_hours hour(s).\n"
                                   "Delivery will be tried until it is $maximal_queue_lifetime_days day(s) old.\n" END)},
	[REPORT_SUCCESS] = {STR("success"),
                            STR(FROM "Subject: Successful Mail Delivery Report\n\n" BEGIN
                                     "Your message was delivered to the recipients below. Where it was passed on to\n"
                                     "another mail system, that one may still report a failure.\n" END)},
	[REPORT_VERIFY] = {STR("verify"), STR(FROM "Subject: Mail Delivery Status Report\n\n" BEGIN
                                                   "This is the delivery report that you asked for.\n" END)},
};

static struct str take_line(struct str *rest)
{
	size_t end = str_find(*rest, '\n');
	struct str line = str_cut(*rest, 0, end);

	*rest = str_from(*rest, end + 1);
	return line;
}

/* --- one template ---------------------------------------------------------------------------- */

static int set_header(struct bounce_template *t, struct str line, const char **why)
{
	struct str *const fields[] = {&t->charset, &t->from, &t->subject, &t->postmaster_subject};
	static const struct str names[] = {STR("Charset"), STR("From"), STR("Subject"), STR("Postmaster-Subject")};
	struct str name, value;

	*why = "a header is one line of ASCII, \"Name: value\"";
	if (!str_split(line, ':', &name, &value) || str_is_8bit(line) || ascii_is_space(line.ptr[0]))
		return -EINVAL;
	for (size_t i = 0; i < COUNT_OF(names); i++)
		if (str_eq_nocase(name, names[i])) {
			*fields[i] = str_trim(value);
			return 0;
		}
	*why = "the headers of a template are Charset, From, Subject, Postmaster-Subject";
	return -EINVAL;
}

/* *ret_line counts from 1. A template that is all header has no text. */
static int set_source(struct bounce_template *t, struct str source, unsigned *ret_line, const char **why)
{
	struct str rest = source, line;
	int err = 0;

	for (*ret_line = 1; rest.len && !err; ++*ret_line) {
		line = take_line(&rest);
		if (str_is_empty(str_trim(line)))
			break;
		err = set_header(t, line, why);
		if (err)
			return err;
	}
	t->source = source;
	t->text = rest;
	return 0;
}

void bounce_templates_init(struct bounce_templates *t)
{
	const char *why;
	unsigned line;

	*t = (struct bounce_templates){.arena = ARENA_INIT};
	for (size_t i = 0; i < REPORT_KIND_COUNT; i++) {
		t->of[i].name = built_in[i].name;
		if (set_source(&t->of[i], built_in[i].source, &line, &why))
			die("built-in template %.*s, line %u: %s", STR_ARG(built_in[i].name), line, why);
		if (!t->of[i].postmaster_subject.len)
			t->of[i].postmaster_subject = t->of[i].subject;
	}
}

void bounce_templates_done(struct bounce_templates *t)
{
	arena_done(&t->arena);
}

/* --- a file ------------------------------------------------------------------------------------ */

struct reading {
	struct str path;
	struct str rest;
	unsigned line; /* the last one that was taken */
	struct buf *why;
};

static int fail(const struct reading *r, unsigned line, const char *text)
{
	buf_addf(r->why, "%.*s:%u: %s", STR_ARG(r->path), line, text);
	return -EINVAL;
}

static struct bounce_template *find(struct bounce_templates *t, struct str name)
{
	for (size_t i = 0; i < REPORT_KIND_COUNT; i++)
		if (str_ends(name, STR("_template")) && str_eq(str_cut(name, 0, name.len - 9), t->of[i].name))
			return &t->of[i];
	return NULL;
}

/* Up to the line `end`, which is taken as well. */
static int take_source(struct reading *r, struct str end, struct str *ret_source)
{
	unsigned first = r->line;
	const char *start = r->rest.ptr;

	while (r->rest.len) {
		const char *here = r->rest.ptr;

		r->line++;
		if (str_eq(str_trim(take_line(&r->rest)), end)) {
			*ret_source = str_n(start, (size_t)(here - start));
			return 0;
		}
	}
	return fail(r, first, "the line that ends this template is missing");
}

static int read_one(struct reading *r, struct bounce_templates *t, struct str line)
{
	struct str name, end, source;
	struct bounce_template *one;
	unsigned first = r->line, at;
	const char *why;
	int err;

	if (!str_split(line, '=', &name, &end) || !str_starts(str_trim(end), STR("<<")) || str_trim(end).len == 2)
		return fail(r, first, "expected failure_template = <<EOF, or delay_template, success_template, verify_template");
	one = find(t, str_trim(name));
	if (!one)
		return fail(r, first,
		            "unknown template; there are failure_template, delay_template, success_template, verify_template");
	err = take_source(r, str_trim(str_from(str_trim(end), 2)), &source);
	if (err)
		return err;
	return set_source(one, source, &at, &why) ? fail(r, first + at, why) : 0;
}

int bounce_templates_parse(struct bounce_templates *t, struct str path, struct str bytes, struct buf *why)
{
	struct reading r = {.path = path, .rest = arena_str(&t->arena, bytes), .why = why};
	int err = 0;

	while (r.rest.len && !err) {
		struct str line = str_trim(take_line(&r.rest));

		r.line++;
		if (!str_is_empty(line) && line.ptr[0] != '#')
			err = read_one(&r, t, line);
	}
	return err;
}

int bounce_templates_read(struct bounce_templates *t, struct str path, struct buf *why)
{
	struct buf bytes = BUF_INIT(FILE_MAX);
	char *name = str_cstr(path);
	int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), err = fd < 0 ? -errno : 0;
	ssize_t n = 1;

	while (!err && n > 0) {
		char *room = buf_room(&bytes, 4096);

		n = room ? read(fd, room, 4096) : 0;
		if (n > 0)
			buf_added(&bytes, (size_t)n);
		err = n < 0 ? -errno : buf_check(&bytes);
	}
	if (fd >= 0)
		close(fd);
	if (err)
		buf_addf(why, "cannot read %s: %s", name, strerror(-err));
	else
		err = bounce_templates_parse(t, path, buf_str(&bytes), why);
	free(name);
	buf_done(&bytes);
	return err;
}

/* --- expansion --------------------------------------------------------------------------------- */

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

struct names {
	const struct view *view;
	struct arena arena;
};

static int get_name(struct expand *e, struct str name, bool is_test, struct str *ret_value)
{
	struct names *names = e->context;

	if (!get_time(names->view, name, &names->arena, ret_value))
		*ret_value = view_get(names->view, name);
	return 0;
}

int bounce_template_expand(const struct bounce_template *t, const struct view *v, struct buf *to, struct buf *why)
{
	struct names names = {v, ARENA_INIT};
	struct expand e = {.get = get_name, .context = &names};
	int err = expand_text(&e, t->text, to);

	if (err)
		buf_addf(why, "%.*s_template: %s", STR_ARG(t->name), e.why);
	arena_done(&names.arena);
	return err;
}
