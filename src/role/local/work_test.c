/* SPDX-License-Identifier: Apache-2.0 */
/* What workers do with files and commands, as the user who runs the test. */
#include "role/local/work.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"

/* Takes the place of the C library's and counts. */
static atomic_int folders_synced;

int fsync(int fd)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
		folders_synced++;
	return (int)syscall(SYS_fsync, fd);
}

static struct work_content content_of(const char *text)
{
	int fd = memfd_create("content", MFD_CLOEXEC);

	CHECK(write(fd, "junk", 4) == 4 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && write(fd, "junk", 4) == 4);
	return (struct work_content){fd, 4, strlen(text)};
}

static struct str read_fd(int fd, char *to, size_t size)
{
	ssize_t got = pread(fd, to, size, 0);

	return str_n(to, got < 0 ? 0 : (size_t)got);
}

static struct str read_path(const char *path, char *to, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct str text = fd < 0 ? STR("(no file)") : read_fd(fd, to, size);

	if (fd >= 0)
		close(fd);
	return text;
}

static const char *path_of(const char *name)
{
	static char path[500];

	snprintf(path, sizeof(path), "%s/%s", check_folder(), name);
	return path;
}

TEST(content_is_written_with_lf_lines)
{
	static const struct {
		const char *content;
		const char *want;
		unsigned flags;
		const char *line_end; /* NULL: LF */
	} cases[] = {
		{"a\r\nb\r\n", "H\na\nb\n", 0},
		{"a\nb", "H\na\nb\n", 0},
		{"a\rb\r\n\r\r\n", "H\na\rb\n\r\n", 0},
		{"", "H\n", 0},
		{"From x\r\nFrom\r\n From x\r\nFro", "H\n>From x\nFrom\n From x\nFro\n", COPY_QUOTE_FROM},
		{"From x\r\n", "H\nFrom x\n", 0},
		{"x\r\n>From x\r\nFFrom y\r\n", "H\nx\n>From x\nFFrom y\n", COPY_QUOTE_FROM},
		{".\r\n..a\r\nb.\r\n", "H\n..\n...a\nb.\n", COPY_DOUBLE_DOTS},
		{".a\r\nFrom b", "H\n..a\n>From b\n", COPY_DOUBLE_DOTS | COPY_QUOTE_FROM},
		{".a", "H\n.a\n\n", COPY_BLANK_LINE},
		{"a\r\n\r\nb", "H\na\r\n\r\nb\r\n\r\n", COPY_BLANK_LINE, "\r\n"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct work_content c = content_of(cases[i].content);
		int to = memfd_create("to", MFD_CLOEXEC);
		struct copy_form form = {cases[i].flags, str_of(cases[i].line_end ? cases[i].line_end : "\n")};
		char text[200];

		CHECK_INT(copy_content(to, STR("H\n"), &c, &form), 0);
		CHECK_STR(read_fd(to, text, sizeof(text)), str_of(cases[i].want));
		close(to);
		close(c.fd);
	}
}

TEST(lines_across_chunks_stay_whole)
{
	size_t size = 300000;
	char *text = mem_alloc(size), *want = mem_alloc(2 * size), *got = mem_alloc(2 * size);
	size_t want_len = 0;
	struct work_content c;
	int to = memfd_create("to", MFD_CLOEXEC);

	/* Lines of growing length, so that every place of a line meets a chunk's end. */
	for (size_t at = 0, line = 0; at + 60 < size; line++) {
		size_t len = (size_t)snprintf(text + at, size - at, "From %.*s\r\n", (int)(line % 41),
		                              "0123456789012345678901234567890123456789");

		want_len += (size_t)snprintf(want + want_len, 60, ">%.*s\n", (int)len - 2, text + at);
		at += len;
	}
	c = content_of(text);
	CHECK_INT(copy_content(to, STR(""), &c, &(struct copy_form){COPY_QUOTE_FROM, STR("\n")}), 0);
	CHECK(str_eq(read_fd(to, got, 2 * size), str_n(want, want_len)));
	close(to);
	close(c.fd);
	free(text);
	free(want);
	free(got);
}

TEST(a_short_file_is_an_error_and_not_a_short_message)
{
	struct work_content c = content_of("abc\r\n");
	int to = memfd_create("to", MFD_CLOEXEC);

	c.size = 100;
	CHECK_INT(copy_content(to, STR(""), &c, &copy_plain), -EIO);
	close(to);
	close(c.fd);
}

TEST(delivered_to_lines_of_the_header_show_a_loop)
{
	struct work_content c = content_of("Subject: x\r\ndelivered-to: Bob@x.org\r\n\r\nDelivered-To: ann@x.org\r\n");

	CHECK_INT(content_was_delivered_to(&c, STR("bob@x.org")), 1);
	CHECK_INT(content_was_delivered_to(&c, STR("ann@x.org")), 0);
	close(c.fd);
}

/* One delivery with a fresh result; the caller frees it. */
static struct work_result deliver(const char *path, const char *text, uint64_t limit, unsigned flags)
{
	struct work_content c = content_of(text);
	struct work_result r;
	struct message_work_mailbox m = {.path = str_of(path),
	                                 .head = STR("Return-Path: <a@b>\n"),
	                                 .from_line = STR("From a@b  Sun Nov 22 2026"),
	                                 .limit = limit,
	                                 .flags = flags,
	                                 .lock_attempts = 1,
	                                 .stale_lock = 500};

	work_result_init(&r);
	if (str_ends(m.path, STR("/")))
		work_maildirs(&(struct maildir_work){&m, &c, &r}, 1);
	else
		work_mbox(&m, &c, &r);
	close(c.fd);
	return r;
}

static void check_result(int line, struct work_result r, const char *dsn, const char *text)
{
	check_str(__FILE__, line, str_of(r.dsn), str_of(dsn));
	if (text)
		check_str(__FILE__, line, buf_str(&r.text), str_of(text));
	work_result_done(&r);
}

#define CHECK_RESULT(r, dsn, text) check_result(__LINE__, r, dsn, text)

static size_t count_files(const char *pattern)
{
	glob_t found = {0};
	size_t count = glob(path_of(pattern), 0, NULL, &found) == 0 ? found.gl_pathc : 0;

	globfree(&found);
	return count;
}

TEST(a_maildir_is_made_and_gets_whole_files)
{
	char text[200];
	glob_t found = {0};

	CHECK_RESULT(deliver(path_of("a/b/"), "Subject: x\r\n\r\nFrom y\r\n", 0, 0), "2.0.0", "delivered to maildir");
	CHECK_INT(glob(path_of("a/b/new/*"), 0, NULL, &found), 0);
	CHECK_STR(read_path(found.gl_pathv[0], text, sizeof(text)), STR("Return-Path: <a@b>\nSubject: x\n\nFrom y\n"));
	globfree(&found);
	CHECK_INT(count_files("a/b/tmp/*"), 0);
	CHECK_INT(count_files("a/b/cur"), 1);
	CHECK_RESULT(deliver(path_of("a/b/"), "x\r\n", 10, 0), "5.2.2",
	             "maildir delivery failed: error writing message: File too large");
	CHECK_INT(count_files("a/b/tmp/*"), 0);
	CHECK_INT(count_files("a/b/new/*"), 1);
	CHECK_RESULT(deliver("/proc/nowhere/", "x\r\n", 0, 0), "4.2.0", NULL);
}

/* Five deliveries at once; the third and the fourth cannot be. */
static void deliver_batch(const char *folder)
{
	struct work_content c = content_of("Subject: x\r\n\r\nhello\r\n");
	struct str paths[] = {str_of(folder), str_of(path_of("other/")), STR("/proc/nowhere/"), str_of(folder), str_of(folder)};
	struct message_work_mailbox mailboxes[COUNT_OF(paths)];
	struct maildir_work works[COUNT_OF(paths)];
	struct work_result results[COUNT_OF(paths)];

	for (size_t i = 0; i < COUNT_OF(paths); i++) {
		mailboxes[i] = (struct message_work_mailbox){.path = paths[i], .limit = i == 3 ? 5 : 0};
		work_result_init(&results[i]);
		works[i] = (struct maildir_work){&mailboxes[i], &c, &results[i]};
	}
	work_maildirs(works, COUNT_OF(works));
	for (size_t i = 0; i < COUNT_OF(paths); i++)
		CHECK_RESULT(results[i], i == 2 ? "4.2.0" : i == 3 ? "5.2.2" : "2.0.0", NULL);
	close(c.fd);
}

TEST(one_delivery_of_a_batch_fails_without_the_others)
{
	char folder[500];

	snprintf(folder, sizeof(folder), "%s", path_of("batch/"));
	deliver_batch(folder);
	CHECK_INT(count_files("batch/new/*"), 2);
	CHECK_INT(count_files("other/new/*"), 1);
	CHECK_INT(count_files("batch/tmp/*"), 0);
}

TEST(a_file_system_without_an_ordered_log_gets_the_same_files)
{
	char template[] = "/dev/shm/postrider-XXXXXX", command[100], folder[500];

	CHECK(mkdtemp(template) != NULL);
	CHECK(symlink(template, path_of("memory")) == 0);
	snprintf(folder, sizeof(folder), "%s", path_of("memory/box/"));
	deliver_batch(folder);
	CHECK(!maildirs_share_commits());
	CHECK_INT(count_files("memory/box/new/*"), 2);
	CHECK_INT(count_files("memory/box/tmp/*"), 0);
	snprintf(command, sizeof(command), "rm -rf %s", template);
	CHECK_INT(system(command), 0);
}

enum { DELIVERIES = 25, THREADS = 12 };

static void *deliver_some(void *arg)
{
	for (size_t i = 0; i < DELIVERIES; i++)
		CHECK_RESULT(deliver(arg, "x\r\n", 0, WORK_LOCK_FCNTL), "2.0.0", NULL);
	return NULL;
}

TEST(many_deliveries_at_once_all_arrive)
{
	char folder[500];
	pthread_t threads[THREADS];

	snprintf(folder, sizeof(folder), "%s", path_of("many/"));
	for (size_t i = 0; i < THREADS; i++)
		CHECK_INT(pthread_create(&threads[i], NULL, deliver_some, folder), 0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	CHECK_INT(count_files("many/new/*"), DELIVERIES * THREADS);
}

TEST(a_mailbox_is_appended_to)
{
	char text[300];

	CHECK_RESULT(deliver(path_of("box"), "Subject: x\r\n\r\nFrom y\r\n", 0, WORK_LOCK_FCNTL | WORK_LOCK_DOTLOCK), "2.0.0",
	             "delivered to mailbox");
	CHECK_STR(read_path(path_of("box"), text, sizeof(text)),
	          STR("From a@b  Sun Nov 22 2026\nReturn-Path: <a@b>\nSubject: x\n\n>From y\n\n"));
	CHECK_INT(count_files("box.lock"), 0);
	CHECK_RESULT(deliver(path_of("box"), "z\r\n", 0, WORK_LOCK_FLOCK), "2.0.0", "delivered to mailbox");
	CHECK(str_ends(read_path(path_of("box"), text, sizeof(text)),
	               STR("\n\nFrom a@b  Sun Nov 22 2026\nReturn-Path: <a@b>\nz\n\n")));
}

TEST(the_name_of_a_new_mailbox_is_on_disk_before_its_mail_is_delivered)
{
	int before = folders_synced;

	CHECK_INT(symlink("box", path_of("link")), 0);
	CHECK_RESULT(deliver(path_of("link"), "x\r\n", 0, 0), "2.0.0", NULL);
	CHECK_INT(folders_synced, before + 1);
	CHECK_RESULT(deliver(path_of("link"), "x\r\n", 0, 0), "2.0.0", NULL);
	CHECK_INT(folders_synced, before + 1);
}

TEST(a_full_mailbox_stays_as_it_was)
{
	struct stat st;

	CHECK_RESULT(deliver(path_of("box"), "x\r\n", 0, 0), "2.0.0", NULL);
	CHECK_RESULT(deliver(path_of("box"), "x\r\n", 60, 0), "5.2.2", NULL);
	CHECK_INT(stat(path_of("box"), &st), 0);
	CHECK_INT(st.st_size, 48);
}

TEST(a_mailbox_in_use_is_left_alone)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char lock[500];
	int fd = open(path_of("box"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	CHECK_INT(fcntl(fd, F_OFD_SETLK, &whole), 0);
	CHECK_RESULT(deliver(path_of("box"), "x\r\n", 0, WORK_LOCK_FCNTL), "4.2.0", NULL);
	CHECK_INT(lseek(fd, 0, SEEK_END), 0);
	close(fd);
	snprintf(lock, sizeof(lock), "%s", path_of("box.lock"));
	fd = open(lock, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	close(fd);
	CHECK_RESULT(deliver(path_of("box"), "x\r\n", 0, WORK_LOCK_DOTLOCK), "4.2.0", NULL);
	CHECK_INT(count_files("box.lock"), 1);
}

struct patient {
	const char *path;
	struct work_result result;
};

static void *deliver_patiently(void *arg)
{
	struct patient *p = arg;
	struct work_content c = content_of("x\r\n");
	struct message_work_mailbox m = {.path = str_of(p->path),
	                                 .from_line = STR("From a@b  Sun Nov 22 2026"),
	                                 .flags = WORK_LOCK_DOTLOCK,
	                                 .lock_attempts = 100,
	                                 .lock_delay = 1,
	                                 .stale_lock = 500};

	work_result_init(&p->result);
	work_mbox(&m, &c, &p->result);
	close(c.fd);
	return NULL;
}

TEST(a_mailbox_that_its_reader_replaced_is_not_written_to)
{
	char box[500], lock[500], text[300];
	struct patient p = {.path = box};
	pthread_t thread;
	int fd;

	snprintf(box, sizeof(box), "%s", path_of("read"));
	snprintf(lock, sizeof(lock), "%s", path_of("read.lock"));
	fd = open(lock, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	close(fd);
	CHECK_INT(pthread_create(&thread, NULL, deliver_patiently, &p), 0);
	/* Opened, and so made, before its lock is waited for. */
	for (int tries = 0; tries < 20000 && access(box, F_OK) != 0; tries++)
		usleep(1000);
	CHECK_INT(rename(box, path_of("read.old")), 0);
	CHECK_INT(unlink(lock), 0);
	pthread_join(thread, NULL);
	CHECK_RESULT(p.result, "4.2.0", NULL);
	CHECK_STR(read_path(path_of("read.old"), text, sizeof(text)), STR(""));
	CHECK_INT(count_files("read.lock"), 0);
}

TEST(only_files_that_may_take_mail_do)
{
	int fd;

	CHECK_INT(mkdir(path_of("d"), 0700), 0);
	CHECK_RESULT(deliver(path_of("d"), "x\r\n", 0, 0), "4.2.0", NULL);
	CHECK_INT(mkfifo(path_of("p"), 0600), 0);
	CHECK_RESULT(deliver(path_of("p"), "x\r\n", 0, 0), "5.2.0", NULL);
	fd = open(path_of("program"), O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
	close(fd);
	CHECK_RESULT(deliver(path_of("program"), "x\r\n", 0, WORK_PLAIN_FILE), "5.7.1", NULL);
	CHECK_RESULT(deliver("/dev/null", "x\r\n", 0, WORK_PLAIN_FILE), "2.0.0", "delivered to file: /dev/null");
}

TEST(a_mailbox_that_others_could_have_made_gets_no_mail)
{
	char other[500], own[500], text[300];
	int fd;

	snprintf(other, sizeof(other), "%s", path_of("keys"));
	fd = open(other, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	close(fd);
	CHECK_INT(link(other, path_of("second_name")), 0);
	CHECK_RESULT(deliver(path_of("second_name"), "x\r\n", 0, 0), "4.2.0", NULL);
	CHECK_RESULT(deliver(path_of("second_name"), "x\r\n", 0, WORK_PLAIN_FILE), "4.2.0", NULL);
	CHECK_INT(unlink(path_of("second_name")), 0);
	CHECK_INT(symlink("keys", path_of("own_link")), 0);
	snprintf(own, sizeof(own), "%s", path_of("own_link"));
	if (geteuid() == 0) {
		CHECK_INT(lchown(own, 65534, 65534), 0);
		CHECK_RESULT(deliver(own, "x\r\n", 0, 0), "4.2.0", NULL);
		CHECK_STR(read_path(other, text, sizeof(text)), STR(""));
		CHECK_INT(lchown(own, 0, 0), 0);
	}
	CHECK_RESULT(deliver(own, "x\r\n", 0, 0), "2.0.0", NULL);
}

TEST(links_are_followed_as_far_as_the_user_himself_could_have_made_them)
{
	char text[300], second[500];

	CHECK_INT(mkdir(path_of("mail"), 0700), 0);
	CHECK_INT(symlink("mail/second", path_of("first")), 0);
	snprintf(second, sizeof(second), "%s", path_of("mail/second"));
	CHECK_INT(symlink(path_of("box"), second), 0);
	CHECK_RESULT(deliver(path_of("first"), "x\r\n", 0, 0), "2.0.0", NULL);
	CHECK(read_path(path_of("box"), text, sizeof(text)).len > 0);
	if (geteuid() == 0) {
		CHECK_INT(lchown(second, 65534, 65534), 0);
		CHECK_INT(unlink(path_of("box")), 0);
		CHECK_RESULT(deliver(path_of("first"), "x\r\n", 0, 0), "4.2.0", NULL);
		CHECK_INT(count_files("box"), 0);
	}
	CHECK_INT(symlink("round", path_of("round")), 0);
	CHECK_RESULT(deliver(path_of("round"), "x\r\n", 0, 0), "4.2.0", NULL);
}

static struct work_result run(const char *command, unsigned time_limit)
{
	static const char environment[] = "A=b\0PATH=/usr/bin:/bin";
	struct work_content c = content_of("Subject: x\r\n\r\nhello\r\n");
	struct work_result r;
	struct message_work_command m = {.command = str_of(command),
	                                 .head = STR("From a\n"),
	                                 .line_end = STR("\n"),
	                                 .environment = str_n(environment, sizeof(environment)),
	                                 .time_limit = time_limit};

	m.folder = str_of(check_folder());
	work_result_init(&r);
	work_command(&m, &c, &r);
	close(c.fd);
	return r;
}

/* Whoever is not among them would count as delivered. */
TEST(a_command_gets_all_its_arguments)
{
	enum { COUNT = 3000 };
	struct buf argv = BUF_INIT(1 << 16), words = BUF_INIT(1 << 16);
	struct work_content c = content_of("hello\r\n");
	struct message_work_command m = {.line_end = STR("\n"), .folder = str_of(check_folder()), .time_limit = 100};
	struct work_result r;
	const char *script = path_of("count");
	FILE *f = fopen(script, "w");

	fputs("#!/bin/sh\n[ $# = 3000 ]\n", f);
	fclose(f);
	CHECK_INT(chmod(script, 0755), 0);
	m.flags = WORK_ARGV;
	buf_add_bytes(&argv, script, strlen(script) + 1);
	buf_add(&words, str_of(script));
	for (int i = 0; i < COUNT; i++) {
		buf_add_bytes(&argv, "a@b", sizeof("a@b"));
		buf_add(&words, STR(" a"));
	}
	m.command = buf_str(&argv);
	work_result_init(&r);
	work_command(&m, &c, &r);
	CHECK_RESULT(r, "2.0.0", NULL);
	close(c.fd);
	CHECK_RESULT(run(buf_cstr(&words), 100), "2.0.0", NULL);
	buf_done(&argv);
	buf_done(&words);
}

TEST(commands_are_judged_by_their_exit_status)
{
	static const struct {
		const char *command;
		const char *dsn;
		const char *text;
	} cases[] = {
		{"/bin/true", "2.0.0", "delivered to command: /bin/true"},
		{"exit 0", "2.0.0", "delivered to command: exit 0"},
		{"echo words; exit 75", "4.3.0", "temporary failure. Command output: words"},
		{"exit 67", "5.1.1", "user unknown"},
		{"exit 77", "5.7.0", "permission denied"},
		{"exit 78", "5.3.5", "local configuration error"},
		{"exit 9", "5.3.0", "Command died with status 9: \"exit 9\""},
		{"echo 4.2.2 box is full; exit 1", "4.2.2", "box is full"},
		{"echo 5.7.1; exit 69", "5.3.0", "service unavailable. Command output: 5.7.1"},
		{"kill -9 $$", "4.3.0", "Command died with signal 9: \"kill -9 $$\""},
		{"/nonexistent/program", "4.3.0", "cannot run command \"/nonexistent/program\": No such file or directory"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++)
		CHECK_RESULT(run(cases[i].command, 100), cases[i].dsn, cases[i].text);
}

TEST(a_command_reads_the_message_in_its_folder_with_its_environment)
{
	char text[300];

	CHECK_RESULT(run("cat >out; echo $A >>out; pwd >/dev/null", 100), "2.0.0", NULL);
	CHECK_STR(read_path(path_of("out"), text, sizeof(text)), STR("From a\nSubject: x\n\nhello\nb\n"));
}

TEST(a_command_that_takes_too_long_is_killed)
{
	CHECK_RESULT(run("sleep 1000", 1), "4.3.0", "Command time limit exceeded: \"sleep 1000\"");
}

static int read_as_forward(const char *path, unsigned flags, struct str want)
{
	struct message_work_read m = {.path = str_of(path), .flags = flags};
	struct work_result r;
	int error;

	work_result_init(&r);
	work_read(&m, &r);
	error = r.error;
	if (!error)
		CHECK_STR(buf_str(&r.data), want);
	work_result_done(&r);
	return error;
}

TEST(a_forward_file_must_be_the_users_own)
{
	int fd = open(path_of("f"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	CHECK(write(fd, "ann\n", 4) == 4);
	CHECK_INT(read_as_forward(path_of("f"), 0, STR("ann\n")), 0);
	CHECK_INT(fchmod(fd, 0646), 0);
	CHECK_INT(read_as_forward(path_of("f"), 0, STR("")), EPERM);
	close(fd);
	CHECK_INT(read_as_forward(path_of("none"), 0, STR("")), ENOENT);
	CHECK_INT(read_as_forward(check_folder(), 0, STR("")), EINVAL);
}
