/* SPDX-License-Identifier: Apache-2.0 */
#include "table/source.h"

#include "check.h"

TEST(lines_are_joined_and_comments_skipped)
{
	struct source s;
	struct str line;

	source_init(&s, STR("x"), STR("# c\n\na b\n # c\n  c\t \nd\n"));
	CHECK(source_next(&s, &line));
	CHECK_STR(line, STR("a b  c"));
	CHECK_INT(s.line, 3);
	CHECK(source_next(&s, &line));
	CHECK_STR(line, STR("d"));
	CHECK_INT(s.line, 6);
	CHECK(!source_next(&s, &line));
	source_done(&s);
}

TEST(entries_have_a_key_and_a_value)
{
	struct arena a = ARENA_INIT;
	struct buf why = BUF_INIT(4096);
	struct source s;
	struct str key, value;

	source_init(&s, STR("x"), STR("Key1 value one\n continued\n\"quoted key\" v\nlonely\n\"a b\"@c d\nkey:\tv\n"));
	CHECK(source_next_entry(&s, &a, &key, &value, &why));
	CHECK_STR(key, STR("Key1"));
	CHECK_STR(value, STR("value one continued"));
	CHECK(source_next_entry(&s, &a, &key, &value, &why));
	CHECK_STR(key, STR("\"quoted key\""));
	CHECK_STR(buf_str(&why), STR(""));
	CHECK(source_next_entry(&s, &a, &key, &value, &why));
	CHECK_STR(buf_str(&why), STR("x, line 4: expected format: key whitespace value"));
	CHECK_STR(key, STR("\"a b\"@c"));
	buf_reset(&why);
	CHECK(source_next_entry(&s, &a, &key, &value, &why));
	CHECK_STR(buf_str(&why), STR("x, line 6: record is in \"key: value\" format; is this an alias file?"));
	CHECK(!source_next_entry(&s, &a, &key, &value, &why));
	source_done(&s);
	buf_done(&why);
	arena_done(&a);
}

TEST(aliases_have_a_name_a_colon_and_a_value)
{
	struct arena a = ARENA_INIT;
	struct buf why = BUF_INIT(4096);
	struct source s;
	struct str key, value;

	source_init(&s, STR("al"), STR("Root: bob, \"|prog arg\",\n\t/file\n\"a b\": c\n\"x\" :y\nbad\nnoval:\n"));
	CHECK(source_next_alias(&s, &a, &key, &value, &why));
	CHECK_STR(key, STR("root"));
	CHECK_STR(value, STR("bob, \"|prog arg\",\t/file"));
	CHECK(source_next_alias(&s, &a, &key, &value, &why));
	CHECK_STR(key, STR("\"a b\""));
	CHECK(source_next_alias(&s, &a, &key, &value, &why));
	CHECK_STR(key, STR("x"));
	CHECK_STR(value, STR("y"));
	CHECK(!source_next_alias(&s, &a, &key, &value, &why));
	CHECK_STR(buf_str(&why), STR("al, line 5: need name:value pair\nal, line 6: need name:value pair"));
	source_done(&s);
	buf_done(&why);
	arena_done(&a);
}
