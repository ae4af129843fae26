/* SPDX-License-Identifier: Apache-2.0 */
/* The body's checks see the same and change the same, wherever a body is cut to be moved to a file. */
#include <errno.h>
#include <stdio.h>

#include "check.h"
#include "config/config.h"
#include "content/content_internal.h"

static struct config *config;
static struct content content;

static struct maps *maps_of(const char *text)
{
	struct buf why = BUF_INIT(1000);
	struct maps *m = NULL;

	if (maps_open(str_of(text), 0, config_main_view(config), &m, &why))
		check_failed(__FILE__, __LINE__, "%s", buf_cstr(&why));
	buf_done(&why);
	return m;
}

static void begin(void)
{
	const char *dir = check_folder();
	char path[500];
	FILE *f;

	snprintf(path, sizeof(path), "%s/master.cf", dir);
	f = fopen(path, "w");
	fclose(f);
	snprintf(path, sizeof(path), "%s/main.cf", dir);
	f = fopen(path, "w");
	fputs("compatibility_level = 3.6\nbody_checks_size_limit = 6000\n", f);
	fclose(f);
	config = config_load(str_of(dir), NULL, 0);
	content.view = config_main_view(config);
	content.body_checks =
		maps_of("regexp:{{/^secret/ IGNORE} {/^old/ REPLACE new line} {/^top/ PREPEND before} {/^stop/ REJECT} "
	                "{/^copy/ BCC copy@x.example} {/^odd/ NONSENSE} {/^less/ BCC nobody}}");
	content.mime_header_checks =
		maps_of("regexp:{{/^Content-Type: .*evil/ REPLACE Content-Type: text/plain} {/^Content-Id:/ IGNORE}}");
	content.nested_header_checks = maps_of("regexp:{{/^Subject: bad/ REPLACE Subject: good} {/^Received:.*inside/ IGNORE}}");
}

static void end(void)
{
	maps_close(content.body_checks);
	maps_close(content.mime_header_checks);
	maps_close(content.nested_header_checks);
	config_free(config);
	content = (struct content){0};
}

static void want_segment(void *arg)
{
}

static void queued(void *arg, uint32_t segment, uint32_t epoch, uint64_t at, int is_sealed)
{
}

static bool no_move(struct append_share *s, bool must)
{
	return false;
}

/* As a large file would take it: what the checks have seen. */
static void take_seen(struct draft *d, struct buf *out)
{
	buf_add(out, str_n(d->base, d->body_at));
	d->end -= d->body_at;
	memmove(d->base, d->base + d->body_at, d->end);
	d->body_at = 0;
}

static size_t note_count(const struct draft *d)
{
	size_t count = 0;

	for (const struct content_note *n = d->notes; n; n = n->next)
		count++;
	return count;
}

/* The body in pieces of `step` bytes; what comes out, and the reply's code. */
static int pass(struct appender *ap, struct str body, size_t step, struct buf *out)
{
	static struct envelope envelope;
	struct arena arena = {0};
	size_t body_len = body.len;
	struct draft d = {.content = &content, .facts = {.arena = &arena, .envelope = &envelope}};

	envelope = (struct envelope){0};
	append_share_init(&d.share, ap, no_move);
	append_share_begin(&d.share);
	d.mime = mem_alloc(sizeof(*d.mime));
	d.is_header_done = true;
	mime_header(d.mime, STR("Content-Type"), STR("multipart/mixed; boundary=b"));
	mime_end_of_headers(d.mime);
	CHECK_INT(append_share_grow(&d.share, 64 << 10, clock_now()), 0);
	d.base = mem_alloc(d.share.size);
	while (body.len > 0 && !d.failure.code) {
		struct str piece = str_cut(body, 0, step);

		memcpy(d.base + d.end, piece.ptr, piece.len);
		d.end += piece.len;
		body = str_from(body, piece.len);
		check_body(&d, body.len == 0);
		take_seen(&d, out);
	}
	CHECK(arena_used(&arena) < 1000 * (body_len + 100));
	CHECK(note_count(&d) <= 1000);
	append_share_done(&d.share);
	free(d.base);
	free(d.mime);
	arena_done(&arena);
	return d.failure.code;
}

struct pass_case {
	const char *label;
	const char *body;
	const char *want;
	int code;
};

static const struct pass_case cases[] = {
	{"lines", "\r\na\r\nsecret\r\nold\r\ntop\r\nz\r\n", "\r\na\r\nnew line\r\nbefore\r\ntop\r\nz\r\n", 0},
	{"not the middle of a line", "\r\nno secret\r\nno old\r\n", "\r\nno secret\r\nno old\r\n", 0},
	{"part headers", "\r\n--b\r\nContent-Type: a/evil\r\nContent-Id: 1\r\n 2\r\n\r\nsecret\r\nx\r\n--b--\r\n",
         "\r\n--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--\r\n", 0},
	{"folded headers are seen whole", "\r\n--b\r\nContent-Type: text/html;\r\n\tx=evil\r\n\r\nx\r\n",
         "\r\n--b\r\nContent-Type: text/plain\r\n\r\nx\r\n", 0},
	{"nested headers",
         "\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nReceived: x\r\n\tinside\r\nSubject: bad\r\n\r\nSubject: "
         "bad\r\n--b--\r\n",
         "\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: good\r\n\r\nSubject: bad\r\n--b--\r\n", 0},
	{"a boundary told in an earlier piece",
         "\r\n--b\r\nContent-Type: multipart/mixed;\r\n boundary=inner\r\nX: y\r\n\r\n--inner\r\nContent-Id: x\r\n\r\nold\r\n",
         "\r\n--b\r\nContent-Type: multipart/mixed;\r\n boundary=inner\r\nX: y\r\n\r\n--inner\r\n\r\nnew line\r\n", 0},
	{"refused", "\r\na\r\nstop\r\n", NULL, 550},
};

static void check_all(void *arg)
{
	static const struct append_owner owner = {.want_segment = want_segment, .queued = queued};
	static const size_t steps[] = {1, 2, 3, 5, 7, 11, 64, 1000};
	struct appender *ap = appender_new(&owner);

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		for (size_t j = 0; j < COUNT_OF(steps); j++) {
			struct buf out = BUF_INIT(100000);

			CHECK_INT(pass(ap, str_of(cases[i].body), steps[j], &out), cases[i].code);
			if (cases[i].want && !str_eq(buf_str(&out), str_of(cases[i].want)))
				check_failed(__FILE__, __LINE__, "%s, by %zu: %.*s", cases[i].label, steps[j],
				             STR_ARG(buf_str(&out)));
			buf_done(&out);
		}
	}
	appender_free(ap);
}

static void long_lines(void *arg)
{
	static const struct append_owner owner = {.want_segment = want_segment, .queued = queued};
	static const size_t steps[] = {100, 2047, 2048, 2049, 2050, 2051, 5000, 20000};
	struct appender *ap = appender_new(&owner);
	struct buf body = BUF_INIT(100000), want = BUF_INIT(100000);

	buf_add(&body, STR("\r\n"));
	for (int i = 0; i < 2048; i++)
		buf_add_char(&body, 'x');
	buf_add(&want, buf_str(&body));
	/* The second piece of a long line is looked at like a line, but is no boundary. */
	buf_add(&body, STR("old\r\n--b\r\nContent-Id: x\r\n\r\n"));
	buf_add(&want, STR("new line\r\n--b\r\n\r\n"));
	for (int i = 0; i < 4096; i++)
		buf_add_char(&body, 'y');
	buf_add(&body, STR("--b\r\nContent-Id: x\r\n"));
	buf_add(&want, str_from(buf_str(&body), body.len - 4096 - 5 - 15));
	for (size_t j = 0; j < COUNT_OF(steps); j++) {
		struct buf out = BUF_INIT(100000);

		CHECK_INT(pass(ap, buf_str(&body), steps[j], &out), 0);
		CHECK_STR(buf_str(&out), buf_str(&want));
		buf_done(&out);
	}
	buf_done(&body);
	buf_done(&want);
	appender_free(ap);
}

static void many_copies(void *arg)
{
	static const struct append_owner owner = {.want_segment = want_segment, .queued = queued};
	struct appender *ap = appender_new(&owner);
	struct buf body = BUF_INIT(100000), out = BUF_INIT(100000);

	buf_add(&body, STR("\r\n"));
	for (int part = 0; part < 10; part++) {
		buf_add(&body, STR("--b\r\n\r\n"));
		for (int i = 0; i < 900; i++)
			buf_add(&body, i % 3 == 0 ? STR("copy\r\n") : i % 3 == 1 ? STR("odd\r\n") : STR("less\r\n"));
	}
	CHECK_INT(pass(ap, buf_str(&body), 10000, &out), 0);
	CHECK_STR(buf_str(&out), buf_str(&body));
	buf_done(&out);
	buf_done(&body);
	appender_free(ap);
}

static void run(fiber_fn *test)
{
	begin();
	loop_init();
	fiber_start("test", test, NULL);
	loop_run();
	loop_done();
	end();
}

TEST(a_body_is_checked_alike_however_it_is_cut)
{
	run(check_all);
}

TEST(many_lines_that_ask_for_a_copy_or_for_nonsense_cost_no_more_each_and_fill_no_log)
{
	run(many_copies);
}

TEST(long_lines_are_checked_in_pieces)
{
	run(long_lines);
}
