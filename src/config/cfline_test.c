/* SPDX-License-Identifier: Apache-2.0 */
/* Joining physical lines. */
#include "config/cfline.h"

#include "check.h"

struct want {
	const char *text;
	unsigned first;
};

static void check_lines(const char *bytes, const struct want *wants, size_t count)
{
	struct cfline_reader reader = CFLINE_READER_INIT(str_of(bytes));
	struct arena arena = ARENA_INIT;
	struct cfline line;

	for (size_t i = 0; i < count; i++) {
		CHECK_CASE(cfline_next(&reader, &arena, &line), bytes);
		CHECK_STR(line.text, str_of(wants[i].text));
		CHECK_INT(line.first, wants[i].first);
	}
	CHECK_CASE(!cfline_next(&reader, &arena, &line), bytes);
	arena_done(&arena);
}

TEST(a_line_that_begins_with_white_space_continues_the_one_before)
{
	check_lines("a = b\n  c\n\td\ne = f\n", (struct want[]){{"a = b  c\td", 1}, {"e = f", 4}}, 2);
}

TEST(comments_and_blank_lines_are_skipped_even_inside)
{
	check_lines("# x\n\n  # y\na = b\n# z\n\n   # w\n  c\n", (struct want[]){{"a = b  c", 4}}, 1);
}

TEST(the_last_line_needs_no_newline)
{
	check_lines("a = b", (struct want[]){{"a = b", 1}}, 1);
	check_lines("a = b\n c", (struct want[]){{"a = b c", 1}}, 1);
}

TEST(carriage_returns_and_blanks_at_the_end_are_dropped)
{
	check_lines("a = b,\r\n  c\r\n", (struct want[]){{"a = b,  c", 1}}, 1);
	check_lines("a = b  \r\nc = d\t\r\n", (struct want[]){{"a = b", 1}, {"c = d", 2}}, 2);
}

TEST(a_file_that_begins_with_a_continuation_says_so)
{
	struct cfline_reader reader = CFLINE_READER_INIT(STR("  a = b\nc = d\n"));
	struct arena arena = ARENA_INIT;
	struct cfline line;

	CHECK(cfline_next(&reader, &arena, &line) && line.is_continuation);
	CHECK(cfline_next(&reader, &arena, &line) && !line.is_continuation);
	arena_done(&arena);
}

TEST(nothing_but_comments_gives_no_line)
{
	check_lines("", NULL, 0);
	check_lines("# a\n#b\n\n   \n", NULL, 0);
}
