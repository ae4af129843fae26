/* SPDX-License-Identifier: Apache-2.0 */
/* Making a table from its source, or adding to one from standard input. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/encoding.h"
#include "base/utf8.h"
#include "cmd/map_tool.h"
#include "config/config.h"
#include "mail/address.h"
#include "table/read_file.h"
#include "table/source.h"
#include "table/table.h"
#include "table/writer.h"

enum { VALUE_MAX = 64 << 20 };

/* One table in the making. */
struct making {
	struct map_tool *tool;
	struct str spec;
	struct str file; /* of the source, for messages */
	struct table_writer *writer;
	struct arena arena; /* of the present entry */
};

static void say_problems(const struct map_tool *t, struct buf *why)
{
	struct str rest = buf_str(why), line;

	while (str_next(&rest, "\n", &line))
		map_tool_warn(t, "%.*s", STR_ARG(line));
	buf_reset(why);
}

/* -F: the files' content as base64, a newline between two. */
static int load_files(struct making *m, struct str names, struct str *ret_value, struct buf *why)
{
	struct buf plain = BUF_INIT(VALUE_MAX), text = BUF_INIT(2 * VALUE_MAX);
	struct str name;
	int err = 0;

	while (!err && str_next(&names, ", \t", &name)) {
		if (plain.len > 0)
			buf_add_char(&plain, '\n');
		err = read_table_file(name, &plain, NULL, why);
	}
	if (!err) {
		base64_encode(&text, buf_str(&plain));
		*ret_value = arena_str(&m->arena, buf_str(&text));
	}
	buf_done(&plain);
	buf_done(&text);
	return err;
}

static bool has_wrong_bytes(const struct making *m, struct str key, struct str value)
{
	return !m->tool->takes_any_bytes && (!utf8_is_valid(key) || !utf8_is_valid(value));
}

/* 0 or -errno that ends the whole; what is wrong with one entry is a warning. */
static int put_entry(struct making *m, unsigned line, struct str key, struct str value)
{
	const struct map_tool *t = m->tool;
	struct buf why = BUF_INIT(4096);
	int err = 0;

	if (has_wrong_bytes(m, key, value)) {
		map_tool_warn(t, "%.*s, line %u: the entry is not UTF-8 and is skipped", STR_ARG(m->file), line);
		return 0;
	}
	if (t->has_files)
		err = load_files(m, value, &value, &why);
	if (err) {
		map_tool_fatal(t, "%.*s, line %u: %s", STR_ARG(m->file), line, buf_cstr(&why));
		buf_done(&why);
		return err;
	}
	if (!t->keeps_case)
		key = arena_lower(&m->arena, key);
	/* arena strings end in a NUL, which belongs to the entry unless -n. */
	key = arena_str(&m->arena, key);
	value = arena_str(&m->arena, value);
	if (!t->has_no_nul) {
		key.len++;
		value.len++;
	}
	err = table_writer_put(m->writer, key, value, t->replaces, &why);
	if (err == -EEXIST && !t->ignores_duplicates)
		map_tool_warn(t, "%.*s, line %u: duplicate entry: \"%s\"", STR_ARG(m->file), line, key.ptr);
	else if (err == -EMSGSIZE)
		map_tool_warn(t, "%.*s, line %u: %s", STR_ARG(m->file), line, buf_cstr(&why));
	else if (err && err != -EEXIST)
		map_tool_fatal(t, "%s", buf_cstr(&why));
	buf_done(&why);
	return err == -EEXIST || err == -EMSGSIZE ? 0 : err;
}

static int put_all(struct making *m, struct str bytes)
{
	struct buf why = BUF_INIT(1 << 16);
	struct source source;
	struct str key, value;
	int err = 0;

	source_init(&source, m->file, bytes);
	while (!err && (m->tool->is_alias ? source_next_alias : source_next_entry)(&source, &m->arena, &key, &value, &why)) {
		say_problems(m->tool, &why);
		err = put_entry(m, source.line, key, value);
		arena_reset(&m->arena);
	}
	say_problems(m->tool, &why);
	source_done(&source);
	buf_done(&why);
	return err;
}

/* What sendmail and NIS expect in an alias table. */
static int put_marks(struct making *m)
{
	char now[32], host[256] = "localhost";
	bool keeps_case = m->tool->keeps_case;
	int err;

	if (!m->tool->is_alias || m->tool->is_incremental)
		return 0;
	snprintf(now, sizeof(now), "%lld", (long long)time(NULL));
	if (gethostname(host, sizeof(host) - 1) != 0)
		host[0] = '\0';
	m->tool->keeps_case = true;
	err = put_entry(m, 0, STR("@"), STR("@"));
	if (!err)
		err = put_entry(m, 0, STR("YP_LAST_MODIFIED"), str_of(now));
	if (!err)
		err = put_entry(m, 0, STR("YP_MASTER_NAME"), str_of(host));
	m->tool->keeps_case = keeps_case;
	return err;
}

static int read_stdin(struct buf *to)
{
	char chunk[4096];
	size_t got;

	while ((got = fread(chunk, 1, sizeof(chunk), stdin)) > 0)
		buf_add_bytes(to, chunk, got);
	return ferror(stdin) ? -EIO : buf_check(to);
}

/* The file takes the mode of its source. */
static mode_t choose_mode(const struct map_tool *t, struct str name)
{
	char *path = str_cstr(name);
	struct stat st;
	int err = stat(path, &st);

	free(path);
	return t->has_own_mode || err ? 0644 : 0600 | (st.st_mode & 0044);
}

static int open_writer(struct making *m, struct str name, struct buf *why)
{
	struct map_tool *t = m->tool;
	mode_t mode = choose_mode(t, name);
	int err = table_writer_open(m->spec, !t->is_incremental, mode, &m->writer, why);

	/* Adding to what is not there begins it. */
	if (err == -ENOENT && t->is_incremental) {
		buf_reset(why);
		err = table_writer_open(m->spec, true, mode, &m->writer, why);
	}
	return err;
}

static int make(struct map_tool *t, struct str spec, struct str name)
{
	struct making m = {.tool = t, .spec = spec};
	struct buf bytes = BUF_INIT(TABLE_FILE_MAX), why = BUF_INIT(1 << 16);
	int err;

	m.file = t->is_incremental ? STR("standard input") : name;
	err = t->is_incremental ? read_stdin(&bytes) : read_table_file(name, &bytes, NULL, &why);
	if (!err)
		err = open_writer(&m, name, &why);
	if (err) {
		map_tool_write_failed(t, err, &why);
	} else {
		err = put_all(&m, buf_str(&bytes));
		if (!err)
			err = put_marks(&m);
		if (err) {
			table_writer_abort(m.writer);
		} else {
			err = table_writer_commit(m.writer, &why);
			if (err)
				map_tool_write_failed(t, err, &why);
		}
	}
	arena_done(&m.arena);
	buf_done(&bytes);
	buf_done(&why);
	return err ? 1 : 0;
}

int map_tool_make(struct map_tool *t, struct str spec)
{
	struct str type, name;
	char *path;
	int status = 1;

	if (!str_split(spec, ':', &type, &name) || !table_is_writable(spec)) {
		map_tool_fatal(t, "%.*s: tables of this type are not made by a command; hash:, btree: and lmdb: are",
		               STR_ARG(spec));
		return 1;
	}
	path = str_cstr(name);
	if (map_tool_become_owner(t, path))
		status = make(t, spec, name);
	map_tool_become_root();
	free(path);
	return status;
}
