/* SPDX-License-Identifier: Apache-2.0 */
/* Asking and showing tables, and removing keys: -q, -s, -d. */
#include "cmd/map_tool.h"

#include <errno.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/encoding.h"
#include "config/config.h"
#include "table/source.h"
#include "table/table.h"
#include "table/writer.h"

enum { VALUE_MAX = 64 << 20 };

void map_tool_warn(const struct map_tool *t, const char *fmt, ...)
{
	va_list args;

	fprintf(stderr, "%s: warning: ", t->name);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}

void map_tool_fatal(const struct map_tool *t, const char *fmt, ...)
{
	va_list args;

	fprintf(stderr, "%s: fatal: ", t->name);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}

char *map_tool_spec(const struct map_tool *t, struct str table)
{
	struct buf spec = BUF_INIT(1 << 20);

	if (str_has(table, ':'))
		return str_cstr(table);
	buf_addf(&spec, "%.*s:%.*s", STR_ARG(view_get(config_main_view(t->config), STR("default_database_type"))),
	         STR_ARG(table));
	return buf_take(&spec);
}

bool map_tool_become_owner(const struct map_tool *t, const char *path)
{
	struct stat st;

	if (t->keeps_root || geteuid() != 0 || stat(path, &st) || (st.st_uid == 0 && st.st_gid == 0))
		return true;
	if (!setgroups(1, &st.st_gid) && !setegid(st.st_gid) && !seteuid(st.st_uid))
		return true;
	map_tool_fatal(t, "cannot become the owner of %s: %s; with -o it is done as root", path, strerror(errno));
	return false;
}

void map_tool_become_root(void)
{
	if (getuid() == 0 && (seteuid(0) || setegid(getgid())))
		die("cannot become root again: %s", strerror(errno));
}

void map_tool_write_failed(const struct map_tool *t, int err, const struct buf *why)
{
	bool is_owner = geteuid() != getuid();

	map_tool_fatal(t, "%.*s%s", STR_ARG(why->len ? buf_str(why) : str_of(strerror(-err))),
	               is_owner && (err == -EACCES || err == -EPERM)
	                       ? ": this was tried with the rights of the file's owner; with -o it is done as root"
	                       : "");
}

static struct table *open_table(const struct map_tool *t, const char *name)
{
	struct buf why = BUF_INIT(1 << 20);
	char *spec = map_tool_spec(t, str_of(name));
	struct table *table = NULL;
	struct str rest, line;

	if (table_open(str_of(spec), t->keeps_case ? 0 : TABLE_FOLD, config_main_view(t->config), &table, &why) != 0) {
		map_tool_fatal(t, "%s", buf_cstr(&why));
		table = NULL;
	} else {
		for (rest = buf_str(&why); str_next(&rest, "\n", &line);)
			map_tool_warn(t, "%.*s", STR_ARG(line));
	}
	free(spec);
	buf_done(&why);
	return table;
}

/* --- output ------------------------------------------------------------------------------ */

static void print_json_text(struct str s)
{
	putchar('"');
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < ' ')
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

static void print_entry(const struct map_tool *t, struct str key, struct str value)
{
	if (t->is_json) {
		putchar('{');
		print_json_text(key);
		fputs(": ", stdout);
		print_json_text(value);
		puts("}");
		return;
	}
	printf("%.*s%s\t%.*s\n", STR_ARG(key), t->is_alias ? ":" : "", STR_ARG(value));
}

/* With -F the value is the base64 of what the files held. False when it is not. */
static bool decode(const struct map_tool *t, struct str value, struct buf *plain, struct str *ret_value)
{
	*ret_value = value;
	if (!t->has_files)
		return true;
	buf_reset(plain);
	if (base64_decode(plain, value) != 0)
		return false;
	*ret_value = buf_str(plain);
	return true;
}

/* --- -q ---------------------------------------------------------------------------------- */

/* 1 found and *ret_value set, 0 not, -1 said why. */
static int find(const struct map_tool *t, struct table **tables, size_t count, struct str key, struct arena *a,
                struct str *ret_value)
{
	for (size_t i = 0; i < count; i++) {
		struct buf why = BUF_INIT(4096);
		int err = table_find(tables[i], key, a, ret_value, &why);

		if (err && err != -ENOENT)
			map_tool_fatal(t, "table %.*s: query error: %s", STR_ARG(table_spec(tables[i])), buf_cstr(&why));
		buf_done(&why);
		if (err == -ENOENT)
			continue;
		if (err)
			return -1;
		if (ret_value->len == 0)
			map_tool_warn(t, "table %.*s: key %.*s: empty string result is not allowed",
			              STR_ARG(table_spec(tables[i])), STR_ARG(key));
		return 1;
	}
	return 0;
}

/* One key; with `is_pair` the key is printed too. 1 found, 0 not, -1 failed. */
static int ask(const struct map_tool *t, struct table **tables, size_t count, struct str key, bool is_pair)
{
	struct arena a = ARENA_INIT;
	struct buf plain = BUF_INIT(VALUE_MAX);
	struct str value;
	int result = find(t, tables, count, key, &a, &value);

	if (result == 1 && !decode(t, value, &plain, &value)) {
		map_tool_fatal(t, "key %.*s: the value is not base64", STR_ARG(key));
		result = -1;
	}
	if (result == 1 && (is_pair || t->is_json))
		print_entry(t, key, value);
	else if (result == 1)
		printf("%.*s\n", STR_ARG(value));
	buf_done(&plain);
	arena_done(&a);
	return result;
}

static void read_input(struct buf *to)
{
	char chunk[4096];
	size_t got;

	while ((got = fread(chunk, 1, sizeof(chunk), stdin)) > 0)
		buf_add_bytes(to, chunk, got);
}

static bool is_header_start(struct str line)
{
	size_t colon = str_find(line, ':');

	return colon > 0 && colon < line.len && str_find_any(line, " \t") > colon;
}

/* -h and -b: each logical header, or each line behind the header, is a key. */
static int ask_message(const struct map_tool *t, struct table **tables, size_t count, struct str rest)
{
	struct str header = {NULL, 0};
	bool is_body = false;
	int found = 0, result = 0;

	while (rest.len > 0 && result >= 0) {
		struct str line = str_cut(rest, 0, str_find(rest, '\n'));
		bool is_folded = !is_body && header.len > 0 && line.len > 0 && (line.ptr[0] == ' ' || line.ptr[0] == '\t');

		rest = str_from(rest, line.len + 1);
		if (is_folded) {
			header.len = (size_t)(line.ptr + line.len - header.ptr);
			continue;
		}
		if (header.len > 0 && t->reads_headers)
			result = ask(t, tables, count, header, true);
		found |= result > 0;
		header = (struct str){NULL, 0};
		if (is_body || !is_header_start(line)) {
			bool is_gap = !is_body && line.len == 0;

			is_body = true;
			if (result >= 0 && t->reads_body && !is_gap && line.len > 0)
				result = ask(t, tables, count, line, true);
			found |= result > 0;
		} else {
			header = line;
		}
	}
	if (result >= 0 && header.len > 0 && t->reads_headers)
		result = ask(t, tables, count, header, true);
	return result < 0 ? -1 : found | (result > 0);
}

static int ask_input(const struct map_tool *t, struct table **tables, size_t count)
{
	struct buf input = BUF_INIT(VALUE_MAX);
	struct str rest, key;
	int found = 0, result = 0;

	read_input(&input);
	rest = buf_str(&input);
	if (t->reads_headers || t->reads_body)
		found = ask_message(t, tables, count, rest);
	else
		while (result >= 0 && str_next(&rest, "\n", &key)) {
			result = ask(t, tables, count, key, true);
			found |= result > 0;
		}
	buf_done(&input);
	return result < 0 ? -1 : found;
}

static int run_query(const struct map_tool *t, char **names, size_t count)
{
	struct table **tables = mem_alloc(count * sizeof(struct table *));
	int result = 0;

	for (size_t i = 0; i < count && result >= 0; i++) {
		tables[i] = open_table(t, names[i]);
		if (!tables[i])
			result = -1;
	}
	if (result >= 0 && strcmp(t->query, "-") == 0)
		result = ask_input(t, tables, count);
	else if (result >= 0)
		result = ask(t, tables, count, str_of(t->query), false);
	for (size_t i = 0; i < count; i++)
		table_close(tables[i]);
	free(tables);
	return result > 0 ? 0 : 1;
}

/* --- -s and -d --------------------------------------------------------------------------- */

static bool show_entry(struct str key, struct str value, void *arg)
{
	const struct map_tool *t = arg;
	struct buf plain = BUF_INIT(VALUE_MAX);
	struct str text;

	if (decode(t, value, &plain, &text))
		print_entry(t, key, text);
	else
		map_tool_warn(t, "key %.*s: the value is not base64", STR_ARG(key));
	buf_done(&plain);
	return true;
}

static int run_show(struct map_tool *t, const char *name)
{
	struct table *table = open_table(t, name);
	int err;

	if (!table)
		return 1;
	err = table_walk(table, show_entry, t);
	if (err)
		map_tool_fatal(t, "table %.*s: %s", STR_ARG(table_spec(table)),
		               err == -ENOTSUP ? "this type cannot show its entries" : strerror(-err));
	table_close(table);
	return err ? 1 : 0;
}

/* 1 removed, 0 not there, -1 said why. */
static int remove_key(const struct map_tool *t, struct table_writer *w, struct str key)
{
	struct buf why = BUF_INIT(4096);
	struct arena a = ARENA_INIT;
	int err = table_writer_remove(w, t->keeps_case ? key : arena_lower(&a, key), &why);

	if (err && err != -ENOENT)
		map_tool_fatal(t, "%s", buf_cstr(&why));
	buf_done(&why);
	arena_done(&a);
	return err == 0 ? 1 : err == -ENOENT ? 0 : -1;
}

static int remove_keys(const struct map_tool *t, struct table_writer *w)
{
	struct buf input = BUF_INIT(VALUE_MAX);
	struct str rest, key;
	int found = 0, result = 0;

	if (strcmp(t->remove, "-") != 0)
		return remove_key(t, w, str_of(t->remove));
	read_input(&input);
	for (rest = buf_str(&input); result >= 0 && str_next(&rest, "\n", &key);) {
		result = remove_key(t, w, str_trim(key));
		found |= result > 0;
	}
	buf_done(&input);
	return result < 0 ? -1 : found;
}

static int change_table(const struct map_tool *t, struct str spec)
{
	struct buf why = BUF_INIT(4096);
	struct table_writer *w;
	int result = -1, err = table_writer_open(spec, false, 0, &w, &why);

	if (!err) {
		result = remove_keys(t, w);
		if (result <= 0)
			table_writer_abort(w);
		else
			err = table_writer_commit(w, &why);
	}
	if (err)
		map_tool_write_failed(t, err, &why);
	buf_done(&why);
	return err ? -1 : result;
}

static int run_remove(const struct map_tool *t, const char *name)
{
	char *spec = map_tool_spec(t, str_of(name));
	struct buf path = BUF_INIT(4096);
	int result = -1;

	buf_addf(&path, "%s.lmdb", spec + str_find(str_of(spec), ':') + 1);
	if (!table_is_writable(str_of(spec)))
		map_tool_fatal(t, "%s: keys cannot be removed from tables of this type", spec);
	else if (map_tool_become_owner(t, buf_cstr(&path)))
		result = change_table(t, str_of(spec));
	map_tool_become_root();
	free(spec);
	buf_done(&path);
	return result;
}

int map_tool_run(struct map_tool *t, char **tables, size_t count)
{
	int status = 0, found = 0;

	if (t->query)
		return run_query(t, tables, count);
	for (size_t i = 0; i < count; i++) {
		int result;

		if (t->shows_all) {
			status |= run_show(t, tables[i]);
		} else if (t->remove) {
			result = run_remove(t, tables[i]);
			if (result < 0)
				return 1;
			found |= result;
		} else {
			char *spec = map_tool_spec(t, str_of(tables[i]));

			status |= map_tool_make(t, str_of(spec));
			free(spec);
		}
	}
	return t->remove ? !found : status;
}
