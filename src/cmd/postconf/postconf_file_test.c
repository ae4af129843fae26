/* SPDX-License-Identifier: Apache-2.0 */
/* Replacing, removing and commenting settings in a text; everything else stays as it was. */
#include "cmd/postconf/postconf_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

/* Does `change` to every line that begins with "b". */
static struct file_change change_b(void *context, struct str line)
{
	const struct file_change *change = context;

	return str_starts(line, STR("b")) ? *change : (struct file_change){0};
}

static void add_end(void *context, struct buf *to)
{
	buf_add(to, STR("end\n"));
}

static void add_nothing(void *context, struct buf *to)
{
}

TEST(one_line_changes_and_all_others_stay)
{
	static const struct {
		const char *text;
		struct file_change change;
		bool is_after_comments;
		const char *want;
	} cases[] = {
		{"a = 1\nb = 2\n", {.text = STR("b = 3")}, false, "a = 1\nb = 3\nend\n"},
		{"b = 2\n  more\nc\n", {.text = STR("b = 3")}, false, "b = 3\nc\nend\n"},
		{"b = 2\n# in\n  more\n# out\n", {.text = STR("b = 3")}, false, "b = 3\n# in\n# out\nend\n"},
		{"b = 2\n# in\n  more\n# out\n", {.text = STR("b = 3")}, true, "# in\nb = 3\n# out\nend\n"},
		{"b = 2\n# in\n\n  more\n", {.is_removed = true}, false, "# in\n\nend\n"},
		{"b = 2\n# in\n  more\n", {.is_comment = true}, false, "#b = 2\n# in\n#  more\nend\n"},
		{"b = 1\na\nb = 2\n", {.text = STR("b")}, false, "b\na\nb\nend\n"},
		{"b = 2", {.text = STR("b = 3")}, false, "b = 3\nend\n"},
		{"a = 2", {.text = STR("b = 3")}, false, "a = 2\nend\n"},
		{"  b\nb\n", {.is_removed = true}, false, "  b\nend\n"},
		{"", {.is_removed = true}, false, "end\n"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct file_change change = cases[i].change;
		const struct file_edit edit = {.change = change_b,
		                               .finish = add_end,
		                               .context = &change,
		                               .is_after_comments = cases[i].is_after_comments};
		struct buf out = BUF_INIT(10000);

		file_edit_text(str_of(cases[i].text), &edit, &out);
		CHECK_STR(buf_str(&out), str_of(cases[i].want));
		buf_done(&out);
	}
}

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

TEST(a_file_is_replaced_whole_and_keeps_its_mode)
{
	struct buf path = BUF_INIT(1000);
	struct file_change change = {.text = STR("b = new")};
	struct file_edit edit = {.change = change_b, .finish = add_nothing, .context = &change};
	struct stat before, after;

	buf_addf(&path, "%s/main.cf", check_folder());
	write_text(buf_cstr(&path), "b = old\n");
	CHECK(chmod(buf_cstr(&path), 0640) == 0 && stat(buf_cstr(&path), &before) == 0);
	CHECK_INT(file_edit(buf_str(&path), &edit), 0);
	CHECK(stat(buf_cstr(&path), &after) == 0);
	CHECK_INT(after.st_mode & 07777, 0640);
	CHECK_INT(after.st_size, 8);
	CHECK(after.st_ino != before.st_ino);
	buf_done(&path);
}

TEST(an_edit_that_turns_out_impossible_leaves_the_file)
{
	struct buf path = BUF_INIT(1000), why = BUF_INIT(100);
	struct file_change change = {.is_removed = true};
	struct file_edit edit = {.change = change_b, .finish = add_nothing, .context = &change, .why = &why};
	struct stat after;

	buf_addf(&path, "%s/main.cf", check_folder());
	write_text(buf_cstr(&path), "b = old\n");
	buf_add(&why, STR("no"));
	CHECK_INT(file_edit(buf_str(&path), &edit), -ECANCELED);
	CHECK(stat(buf_cstr(&path), &after) == 0);
	CHECK_INT(after.st_size, 8);
	CHECK_INT(file_edit(STR("/nonexistent/main.cf"), &edit), -ENOENT);
	buf_done(&path);
	buf_done(&why);
}
