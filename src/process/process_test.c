/* SPDX-License-Identifier: Apache-2.0 */
/* The test is master to example_role. */
#include "process/process.h"

#include <errno.h>
#include <linux/landlock.h>
#include <pwd.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static struct {
	struct channel *control;
	pid_t pid;
} role;

static struct instant soon(void)
{
	return clock_deadline(duration_s(30));
}

static void write_file(const char *folder, const char *name, const char *text)
{
	struct buf path = BUF_INIT(1000);
	FILE *f;

	buf_addf(&path, "%s/%s", folder, name);
	f = fopen(buf_cstr(&path), "we");
	CHECK(f && fputs(text, f) >= 0);
	if (f)
		fclose(f);
	buf_done(&path);
}

/* A memory file with the snapshot of a small configuration. */
static int make_snapshot(const char *mydomain)
{
	struct buf text = BUF_INIT(1000), bytes = BUF_INIT(64 << 20);
	const char *folder = check_folder();
	struct config *c;
	int fd = memfd_create("config", MFD_CLOEXEC);

	buf_addf(&text,
	         "compatibility_level = 3.6\nmydomain = %s\nmyhostname = mx.%s\nmail_owner = nobody\nqueue_directory = %s\n",
	         mydomain, mydomain, folder);
	write_file(folder, "main.cf", buf_cstr(&text));
	write_file(folder, "master.cf", "lookup unix - - n - - lookup\n");
	c = config_load(str_of(folder), NULL, 0);
	config_snapshot(c, &bytes);
	CHECK_INT(write(fd, bytes.ptr, bytes.len), (ssize_t)bytes.len);
	config_free(c);
	buf_done(&bytes);
	buf_done(&text);
	return fd;
}

static void start_role(const char *mydomain)
{
	posix_spawn_file_actions_t actions;
	static char path[] = EXAMPLE_ROLE;
	char *argv[] = {path, NULL}, *env[] = {NULL};
	struct message config = {.type = MESSAGE_CONFIG}, go = {.type = MESSAGE_GO, .go = {.generation = 7}};
	int fds[2];

	CHECK_INT(channel_socketpair(fds), 0);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fds[1], PROCESS_CONTROL_FD);
	CHECK_INT(posix_spawn(&role.pid, argv[0], &actions, NULL, argv, env), 0);
	posix_spawn_file_actions_destroy(&actions);
	close(fds[1]);
	role.control = channel_new(fds[0]);
	config.fd = make_snapshot(mydomain);
	CHECK_INT(channel_send(role.control, &config), 0);
	CHECK_INT(channel_send(role.control, &go), 0);
	close(config.fd);
}

static int exit_status(void)
{
	int status = -1;

	channel_free(role.control);
	CHECK_INT(waitpid(role.pid, &status, 0), role.pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void run_test(fiber_fn *fn)
{
	loop_init();
	channel_loop_init();
	fiber_start("test", fn, NULL);
	loop_run();
	loop_done();
}

/* Older kernels, and some containers, do not have it. */
static bool has_landlock(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 1;
}

static void meet_peer(void *arg)
{
	struct message peer = {.type = MESSAGE_PEER, .peer = {.role = ROLE_SMTPD, .id = 1}}, drain = {.type = MESSAGE_DRAIN}, got;
	struct passwd *nobody = getpwnam("nobody");
	struct channel *ch;
	int fds[2];

	start_role("serve.example");
	CHECK_INT(channel_recv(role.control, soon(), &got), 0);
	CHECK_INT(got.type, MESSAGE_READY);
	CHECK_INT(got.ready.generation, 7);

	CHECK_INT(channel_socketpair(fds), 0);
	peer.fd = fds[1];
	ch = channel_new(fds[0]);
	CHECK_INT(channel_send(role.control, &peer), 0);
	CHECK_INT(channel_recv(ch, soon(), &got), 0);
	close(fds[1]);
	CHECK_STR(got.queue_end.text, STR("mx.serve.example"));
	CHECK_INT(got.queue_end.count, getuid() || !nobody ? getuid() : nobody->pw_uid);
	CHECK_INT(got.queue_end.error, has_landlock() ? EACCES : 0);
	channel_free(ch);

	CHECK_INT(channel_send(role.control, &drain), 0);
	CHECK_INT(channel_recv(role.control, soon(), &got), -EPIPE);
	CHECK_INT(exit_status(), 0);
}

TEST(a_role_gets_its_configuration_loses_root_and_meets_its_peers)
{
	run_test(meet_peer);
}

static void be_refused(void *arg)
{
	struct message got;

	start_role("refuse.example");
	CHECK_INT(channel_recv(role.control, soon(), &got), 0);
	CHECK_INT(got.type, MESSAGE_FAILED);
	CHECK_STR(got.failed.why, STR("this domain is not served"));
	CHECK_INT(channel_recv(role.control, soon(), &got), -EPIPE);
	CHECK_INT(exit_status(), 1);
}

TEST(a_role_that_cannot_work_says_why)
{
	run_test(be_refused);
}

static void lose_master(void *arg)
{
	struct message got;

	start_role("serve.example");
	CHECK_INT(channel_recv(role.control, soon(), &got), 0);
	CHECK_INT(exit_status(), 0);
}

TEST(a_role_ends_when_master_is_gone)
{
	run_test(lose_master);
}
