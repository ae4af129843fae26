/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rule files of cidr and pcre tables: the first line is a key, the rest the file. (The engine of
 * regexp is the C library's; its rule syntax is the same as that of pcre.)
 */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arena.h"
#include "table/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(const char *type, int fd, struct str key)
{
	struct buf why = BUF_INIT(1 << 16);
	struct arena a = ARENA_INIT;
	struct table *t;
	struct str value;
	char spec[64];

	snprintf(spec, sizeof(spec), "%s:/proc/self/fd/%d", type, fd);
	if (table_open(str_of(spec), 0, NULL, &t, &why) == 0) {
		if (table_find(t, key, &a, &value, &why) == 0 && value.ptr == NULL)
			die("found without a value");
		table_close(t);
	}
	arena_done(&a);
	buf_done(&why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str bytes = str_n((const char *)data, size), key = STR("192.0.2.1"), rules;
	int fd = memfd_create("rules", 0);

	if (fd < 0)
		die("no memory file");
	if (!str_split(bytes, '\n', &key, &rules))
		rules = bytes;
	if (write(fd, rules.ptr ? rules.ptr : "", rules.len) == (ssize_t)rules.len) {
		ask("cidr", fd, key);
		ask("pcre", fd, key);
	}
	close(fd);
	return 0;
}
