/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_stamp.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

static char *path_of(const char *name)
{
	static char path[2][500];
	static int next;

	next = !next;
	snprintf(path[next], sizeof(path[next]), "%s/%s", check_folder(), name);
	return path[next];
}

static void make(const char *name, const char *text)
{
	int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	CHECK_INT(write(fd, text, strlen(text)), (long long)strlen(text));
	close(fd);
}

/* Did the folder's stamp change since the last call? */
static bool has_changed(struct tls_stamp *last)
{
	struct tls_stamp now = tls_stamp_of(path_of("folder"));
	bool is_other = !tls_stamp_eq(&now, last);

	*last = now;
	return is_other;
}

TEST(a_folder_looks_different_when_something_in_it_does)
{
	struct tls_stamp last = {0};

	CHECK_INT(mkdir(path_of("folder"), 0700), 0);
	CHECK(has_changed(&last));
	CHECK(!has_changed(&last));
	make("folder/a.0", "one");
	CHECK(has_changed(&last));
	make("elsewhere", "two");
	CHECK(!has_changed(&last));
	CHECK_INT(symlink("../elsewhere", path_of("folder/b.0")), 0);
	CHECK(has_changed(&last));
	/* The folder itself does not change by these. */
	make("folder/a.0", "another");
	CHECK(has_changed(&last));
	make("elsewhere", "some more");
	CHECK(has_changed(&last));
	CHECK_INT(unlink(path_of("folder/a.0")), 0);
	CHECK(has_changed(&last));
	CHECK(!has_changed(&last));
}

TEST(what_is_not_there_is_all_zero)
{
	struct tls_stamp none = {0}, stamp = tls_stamp_of(path_of("nowhere"));

	CHECK(tls_stamp_eq(&stamp, &none));
}
