/* SPDX-License-Identifier: Apache-2.0 */
#include "content/intake.h"

#include "base/buf.h"
#include "check.h"

static const struct intake_case {
	const char *input;
	const char *want; /* NULL: has not ended */
	const char *rest;
	bool is_loose;
} cases[] = {
	{"a\r\nb\r\n.\r\nQUIT\r\n", "a\r\nb\r\n", "QUIT\r\n", false},
	{".\r\n", "", "", false},
	{"..a\r\n.\r\n", ".a\r\n", "", false},
	{".a\r\n...\r\n.\r\n", "a\r\n..\r\n", "", false},
	{"a\n.\r\nb\r\n.\r\n", "a\r\n\r\nb\r\n", "", false},
	{"a\r\n.\nb\r\n.\r\n", "a\r\n\r\nb\r\n", "", false},
	{"a\n.\nb\r\n.\r\n", "a\r\n\r\nb\r\n", "", false},
	{"a\n.\nb\r\n.\r\n", "a\r\n", "b\r\n.\r\n", true},
	{"a\r\n.\r\r\nb\r\n.\r\n", "a\r\n \r\nb\r\n", "", false},
	{"a\r\r\n.\r\n", "a \r\n", "", false},
	{"a\rb\r\n.\r\n", "a b\r\n", "", false},
	{"a\r.\rb\r\n.\r\n", "a . b\r\n", "", false},
	{"a\nb\r\n.\r\n", "a\r\nb\r\n", "", false},
	{"\r\n\r\n.\r\n", "\r\n\r\n", "", false},
	{"a\r\n.\r\n.\r\n", "a\r\n", ".\r\n", false},
	{"a\r\n", NULL, "", false},
	{"a\r\n.", NULL, "", false},
	{"a\r\n.\r", NULL, "", false},
};

/* Feeds pieces of `step` bytes. */
static bool feed(const struct intake_case *c, size_t step, struct buf *out, struct str *ret_rest)
{
	struct intake in = {.is_stuffed = true, .is_strict = !c->is_loose};
	struct str rest = str_of(c->input);

	while (rest.len > 0) {
		struct str piece = str_cut(rest, 0, step);
		size_t len, used;
		bool has_ended = intake_feed(&in, piece, buf_room(out, 2 * piece.len + 2), &len, &used);

		buf_added(out, len);
		rest = str_from(rest, used);
		*ret_rest = rest;
		if (has_ended)
			return true;
	}
	return false;
}

TEST(data_ends_where_it_ends_however_it_is_cut)
{
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		for (size_t step = 1; step <= strlen(cases[i].input); step++) {
			struct buf out = BUF_INIT(1000);
			struct str rest = STR("");
			bool has_ended = feed(&cases[i], step, &out, &rest);

			CHECK_CASE(has_ended == (cases[i].want != NULL), cases[i].input);
			if (cases[i].want) {
				CHECK_STR(buf_str(&out), str_of(cases[i].want));
				CHECK_STR(rest, str_of(cases[i].rest));
			}
			buf_done(&out);
		}
	}
}

TEST(a_bare_line_feed_is_noted)
{
	struct intake in = {.is_stuffed = true, .is_strict = true};
	char out[100];
	size_t len, used;

	intake_feed(&in, STR("a\r\n"), out, &len, &used);
	CHECK(!in.has_bare_lf);
	intake_feed(&in, STR("b\n"), out, &len, &used);
	CHECK(in.has_bare_lf);
}

TEST(chunks_keep_their_dots_and_get_a_last_line_end)
{
	struct intake in = {0};
	char out[100];
	size_t len, used;

	CHECK(!intake_feed(&in, STR(".a\r\n.\r\nb\r"), out, &len, &used));
	len += intake_finish(&in, out + len);
	CHECK_STR(str_n(out, len), STR(".a\r\n.\r\nb \r\n"));
	CHECK_INT(intake_finish(&in, out), 0);
}

TEST(files_may_end_lines_in_lf)
{
	struct intake in = {.is_lf = true};
	char out[100];
	size_t len, used;

	intake_feed(&in, STR("a\nb\r\n\nc"), out, &len, &used);
	len += intake_finish(&in, out + len);
	CHECK_STR(str_n(out, len), STR("a\r\nb\r\n\r\nc\r\n"));
	CHECK(!in.has_bare_lf);
}
