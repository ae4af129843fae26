/* SPDX-License-Identifier: Apache-2.0 */
#include "table/table.h"

#include <errno.h>
#include <stdio.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "check.h"
#include "table/writer.h"

/* Asks one table once; "-" for no such key, "!text" for an error. */
static void check_answer(int line, const char *spec, const char *key, const char *want)
{
	struct arena a = ARENA_INIT;
	struct buf why = BUF_INIT(4096);
	struct str value = {NULL, 0};
	struct table *t;
	int err = table_open(str_of(spec), TABLE_FOLD, NULL, &t, &why);

	if (err) {
		check_failed(__FILE__, line, "%s: %s", spec, buf_cstr(&why));
	} else {
		buf_reset(&why);
		err = table_find(t, str_of(key), &a, &value, &why);
		if (err == -ENOENT)
			value = STR("-");
		else if (err)
			value = STR("!");
		if (!str_eq(value, str_of(want)))
			check_failed(__FILE__, line, "%s asked for %s: \"%.*s\" instead of \"%s\"", spec, key, STR_ARG(value),
			             want);
		table_close(t);
	}
	buf_done(&why);
	arena_done(&a);
}

#define CHECK_ANSWER(spec, key, want) check_answer(__LINE__, spec, key, want)

static const char *file_of(const char *name, const char *text)
{
	static char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", check_folder(), name);
	f = fopen(path, "w");
	fputs(text, f);
	fclose(f);
	return path;
}

static const char *spec_of(const char *type, const char *text)
{
	static char spec[600];

	snprintf(spec, sizeof(spec), "%s:%s", type, file_of("t", text));
	return spec;
}

TEST(small_types_answer)
{
	CHECK_ANSWER("inline:{a=b, { c = d e }}", "A", "b");
	CHECK_ANSWER("inline:{a=b, { c = d e }}", "c", "d e");
	CHECK_ANSWER("inline:{a=b}", "x", "-");
	CHECK_ANSWER("static:yes", "x", "yes");
	CHECK_ANSWER("static:{ a b}", "x", "a b");
	CHECK_ANSWER("fail:x", "x", "!");
	CHECK_ANSWER("unix:passwd.byname", "root", "root:x:0:0:root:/root:/bin/bash");
	CHECK_ANSWER("unix:passwd.byname", "no-such-user", "-");
	CHECK_ANSWER("unix:group.byname", "root", "root:x:0:");
	CHECK_ANSWER("proxy:inline:{a=b}", "A", "b");
	CHECK_ANSWER("pipemap:{inline:{a=b},inline:{b=c}}", "a", "c");
	CHECK_ANSWER("pipemap:{inline:{a=b},inline:{x=c}}", "a", "-");
	CHECK_ANSWER("unionmap:{inline:{a=b},inline:{a=c},inline:{x=y}}", "a", "b,c");
	CHECK_ANSWER("unionmap:{inline:{a=b},fail:x}", "a", "!");
	CHECK_ANSWER("randmap:{a}", "x", "a");
	setenv("tabletest", "set", 1);
	CHECK_ANSWER("environ:x", "tabletest", "set");
}

TEST(texthash_reads_a_source)
{
	const char *spec = spec_of("texthash", "# c\nKey one\n two\nkey2 v\nKEY later\n");

	CHECK_ANSWER(spec, "kEY", "one two");
	CHECK_ANSWER(spec, "key2", "v");
	CHECK_ANSWER(spec, "k", "-");
}

TEST(regexp_rules_match_in_order)
{
	const char *spec = spec_of("regexp", "/^(a)(.*)@x/ REJECT $1 ${2} $(1) $$\n"
	                                     "!/foo/ notfoo\n"
	                                     "if /foo/\n"
	                                     "/foobar/i casesens\n"
	                                     "endif\n"
	                                     "/bad\n/x/q badflag\n");

	CHECK_ANSWER(spec, "ab@x", "REJECT a b a $");
	CHECK_ANSWER(spec, "bar", "notfoo");
	CHECK_ANSWER(spec, "xfoobarx", "casesens");
	CHECK_ANSWER(spec, "FOOBAR", "-");
	CHECK_ANSWER(spec, "foo", "-");
}

TEST(pcre_rules_match_in_order)
{
	const char *spec = spec_of("pcre", "/^(\\w)(.*)@x/ REJECT $1 ${2}\n"
	                                   "if !/foo/\n"
	                                   "if /bar/\n"
	                                   "/^bar$/ bar alone\n"
	                                   "endif\n"
	                                   "/./ not foo\n"
	                                   "endif\n"
	                                   "/c(d)?/ [$1]\n");

	CHECK_ANSWER(spec, "ab@x", "REJECT a b");
	CHECK_ANSWER(spec, "BAR", "bar alone");
	CHECK_ANSWER(spec, "barn", "not foo");
	CHECK_ANSWER(spec, "fooc", "[]");
	CHECK_ANSWER(spec, "foocd", "[d]");
	CHECK_ANSWER(spec, "foo", "-");
	CHECK_ANSWER("pcre:{ {/c/ x}, { /d{2}/ y } }", "dd", "y");
}

TEST(a_pattern_that_would_run_for_ever_is_a_failure)
{
	CHECK_ANSWER("pcre:{ {/^(a+)+$/ x} }", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "!");
}

TEST(cidr_rules_match_in_order)
{
	const char *spec = spec_of("cidr", "10.0.0.1/8 x\n[1.2.3.4] y\n10.1.0.0/16 z z\n10.0.0.0/8 w\n[2001:db8::]/32 six\n");

	CHECK_ANSWER(spec, "10.1.2.3", "z z");
	CHECK_ANSWER(spec, "10.2.2.3", "w");
	CHECK_ANSWER(spec, "1.2.3.4", "y");
	CHECK_ANSWER(spec, "2001:db8:1::", "six");
	CHECK_ANSWER(spec, "mail.example.com", "-");
	spec = spec_of("cidr", "!192.0.2.0/24 notnet\n192.0.2.5 five\n2001:db8::/32 six\nif 192.0.2.8/29\n192.0.2.8 "
	                       "eight\n192.0.2.1 one\nendif\n");
	CHECK_ANSWER(spec, "192.0.2.5", "five");
	CHECK_ANSWER(spec, "1.2.3.4", "notnet");
	CHECK_ANSWER(spec, "2001:db8::1", "six");
	CHECK_ANSWER(spec, "192.0.2.8", "eight");
	CHECK_ANSWER(spec, "192.0.2.1", "-");
}

static void check_refusal(int line, const char *spec, unsigned flags, int want_err, const char *want)
{
	struct buf why = BUF_INIT(4096);
	struct table *t = NULL;
	int err = table_open(str_of(spec), flags, NULL, &t, &why);

	check_int(__FILE__, line, err, want_err);
	check_str(__FILE__, line, buf_str(&why), str_of(want));
	table_close(err ? NULL : t);
	buf_done(&why);
}

TEST(what_cannot_be_opened_is_explained)
{
	check_refusal(__LINE__, "x", 0, -EINVAL, "table \"x\": expected the form type:name, as in hash:/etc/postfix/virtual");
	check_refusal(__LINE__, "nosuch:x", 0, -ENOTSUP, "table nosuch:x: unknown table type \"nosuch\"");
	check_refusal(__LINE__, "mysql:/x", 0, -ENOTSUP,
	              "table mysql:/x: tables of type mysql are not supported yet; use lmdb:, texthash:, pcre: or cidr:");
	check_refusal(__LINE__, "proxy:mysql:/x", 0, -ENOTSUP,
	              "table mysql:/x: tables of type mysql are not supported yet; use lmdb:, texthash:, pcre: or cidr:");
	check_refusal(
		__LINE__, "hash:/nonexistent/virtual", 0, -ENOENT,
		"table hash:/nonexistent/virtual: there is no /nonexistent/virtual.lmdb; run: postmap hash:/nonexistent/virtual");
	check_refusal(__LINE__, "hash:/nonexistent/aliases", 0, -ENOENT,
	              "table hash:/nonexistent/aliases: there is no /nonexistent/aliases.lmdb; run: postalias "
	              "hash:/nonexistent/aliases");
	check_refusal(__LINE__, "texthash:/nonexistent", 0, -ENOENT, "open /nonexistent: No such file or directory");
	check_refusal(__LINE__, "inline:a=b", 0, -EINVAL, "bad syntax: \"inline:a=b\"; need \"inline:{name=value...}\"");
	check_refusal(__LINE__, "randmap:{ , }", 0, -EINVAL, "bad syntax: \"randmap:{ , }\"; need \"randmap:{value, ...}\"");
	check_refusal(__LINE__, "pipemap:{ , }", 0, -EINVAL, "bad syntax: \"pipemap:{ , }\"; need \"pipemap:{type:name, ...}\"");
	check_refusal(__LINE__, "pcre:{{/a/ $1}}", 0, 0,
	              "pcre map {{/a/ $1}}, line 1: out of range replacement index \"1\": skipping this rule");
	check_refusal(
		__LINE__, "pcre:{{/(a)/ $1}}", TABLE_NO_REGSUB, 0,
		"pcre map {{/(a)/ $1}}, line 1: $1 is not allowed in this table, for reasons of security: skipping this rule");
	check_refusal(__LINE__, "regexp:{{!/(a)/ $1}}", 0, 0,
	              "regexp map {{!/(a)/ $1}}, line 1: $number found in negative match replacement text: skipping this rule");
}

static void put(struct table_writer *w, const char *key, const char *value, int want)
{
	struct buf why = BUF_INIT(1024);

	CHECK_INT(table_writer_put(w, str_of(key), str_of(value), false, &why), want);
	buf_done(&why);
}

static bool count_entry(struct str key, struct str value, void *arg)
{
	++*(int *)arg;
	return true;
}

TEST(an_indexed_file_is_written_read_and_replaced)
{
	struct buf why = BUF_INIT(1024);
	struct arena a = ARENA_INIT;
	struct table_writer *w;
	struct table *t;
	struct stat st;
	char spec[600], path[600];
	struct str value;
	int count = 0;

	snprintf(spec, sizeof(spec), "hash:%s", file_of("virtual", "x y\n"));
	snprintf(path, sizeof(path), "%s/virtual.lmdb", check_folder());
	CHECK_INT(table_writer_open(str_of(spec), true, 0640, &w, &why), 0);
	put(w, "a", "1", 0);
	put(w, "a", "2", -EEXIST);
	put(w, "b", "2", 0);
	CHECK_INT(table_writer_put(w, str_n("nul", 4), str_n("v", 2), false, &why), 0);
	CHECK_INT(table_writer_commit(w, &why), 0);
	CHECK_ANSWER(spec, "A", "1");
	CHECK_ANSWER(spec, "nul", "v");
	CHECK_ANSWER(spec, "c", "-");
	CHECK_INT(table_open(str_of(spec), TABLE_FOLD, NULL, &t, &why), 0);
	CHECK_INT(table_walk(t, count_entry, &count), 0);
	CHECK_INT(count, 3);
	CHECK(!table_has_changed(t));
	CHECK_INT(table_writer_open(str_of(spec), false, 0, &w, &why), 0);
	CHECK_INT(table_writer_remove(w, STR("a"), &why), 0);
	CHECK_INT(table_writer_remove(w, STR("nul"), &why), 0);
	CHECK_INT(table_writer_remove(w, STR("a"), &why), -ENOENT);
	CHECK_INT(table_writer_commit(w, &why), 0);
	CHECK(table_has_changed(t));
	CHECK_INT(stat(path, &st), 0);
	CHECK_INT(st.st_mode & 0777, 0640);
	CHECK_INT(table_find(t, STR("a"), &a, &value, &why), 0);
	CHECK_ANSWER(spec, "a", "-");
	CHECK_ANSWER(spec, "b", "2");
	table_close(t);
	arena_done(&a);
	buf_done(&why);
}

TEST(a_file_that_is_older_than_its_source_is_a_warning)
{
	struct timespec later[2] = {{.tv_nsec = UTIME_NOW}, {.tv_sec = 4000000000}};
	struct buf why = BUF_INIT(1024), want = BUF_INIT(2048);
	struct table_writer *w;
	struct table *t;
	char spec[600];
	const char *path = file_of("virtual", "x y\n");

	snprintf(spec, sizeof(spec), "hash:%s", path);
	CHECK_INT(table_writer_open(str_of(spec), true, 0644, &w, &why), 0);
	CHECK_INT(table_writer_commit(w, &why), 0);
	CHECK_INT(utimensat(AT_FDCWD, path, later, 0), 0);
	CHECK_INT(table_open(str_of(spec), TABLE_FOLD, NULL, &t, &why), 0);
	buf_addf(&want, "%s.lmdb: older than its source %s; run: postmap %s", path, path, spec);
	CHECK_STR(buf_str(&why), buf_str(&want));
	table_close(t);
	buf_done(&want);
	buf_done(&why);
}

TEST(a_file_that_is_no_data_base_is_refused)
{
	char spec[600];

	file_of("virtual.lmdb", "");
	snprintf(spec, sizeof(spec), "hash:%s/virtual", check_folder());
	for (int round = 0; round < 2; round++) {
		struct buf why = BUF_INIT(1024);
		struct table *t;

		CHECK_INT(table_open(str_of(spec), TABLE_FOLD, NULL, &t, &why), -EINVAL);
		CHECK(str_find_str(buf_str(&why), STR("is not an LMDB file; run: postmap hash:")) < why.len);
		buf_done(&why);
		file_of("virtual.lmdb",
		        "garbage garbage garbage garbage garbage garbage garbage garbage garbage garbage garbage garbage garbage "
		        "garbage garbage garbage garbage garbage garbage garbage garbage garbage garbage garbage garbage");
	}
}

TEST(a_surrogate_fails_at_lookups_only)
{
	struct buf why = BUF_INIT(1024);
	struct arena a = ARENA_INIT;
	struct table *t;
	struct str value;

	CHECK_INT(table_open(STR("hash:/nonexistent/virtual"), TABLE_SURROGATE, NULL, &t, &why), 0);
	CHECK(str_ends(buf_str(&why), STR("run: postmap hash:/nonexistent/virtual")));
	buf_reset(&why);
	CHECK_INT(table_find(t, STR("x"), &a, &value, &why), -EAGAIN);
	CHECK(str_ends(buf_str(&why), STR("run: postmap hash:/nonexistent/virtual")));
	table_close(t);
	CHECK_INT(table_open(STR("inline:x"), TABLE_SURROGATE, NULL, &t, &why), -EINVAL);
	arena_done(&a);
	buf_done(&why);
}

TEST(lists_of_tables_stop_at_the_first_hit_or_error)
{
	struct buf why = BUF_INIT(1024);
	struct arena a = ARENA_INIT;
	struct maps *m;
	struct str value;

	CHECK_INT(maps_open(STR("inline:{a=1}, regexp:{{/b/ 2}} inline:{{b=3}},fail:x"), TABLE_FOLD, NULL, &m, &why), 0);
	CHECK_INT(maps_count(m), 4);
	CHECK_INT(maps_find(m, STR("a"), false, &a, &value, &why), 0);
	CHECK_INT(maps_find(m, STR("b"), false, &a, &value, &why), 0);
	CHECK_STR(value, STR("2"));
	CHECK_INT(maps_find(m, STR("b"), true, &a, &value, &why), 0);
	CHECK_STR(value, STR("3"));
	CHECK_INT(maps_find(m, STR("c"), true, &a, &value, &why), -ENOENT);
	CHECK_INT(maps_find(m, STR("c"), false, &a, &value, &why), -EAGAIN);
	maps_close(m);
	CHECK_INT(maps_open(STR(""), 0, NULL, &m, &why), 0);
	CHECK(maps_is_empty(m));
	maps_close(m);
	arena_done(&a);
	buf_done(&why);
}
