/* SPDX-License-Identifier: Apache-2.0 */
/* Each test is a child that enters a sandbox and then tries what an intruder would try. */
#include "process/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static char spool[1000];

/* The wait status of a child that runs `fn` inside the role's sandbox; it exits with what `fn` returns. */
static int run_inside(enum ipc_role role, int (*fn)(void))
{
	struct buf why = BUF_INIT(1000);
	int status = -1;
	pid_t pid;

	snprintf(spool, sizeof(spool), "%s", check_folder());
	pid = fork();
	if (pid == 0)
		_exit(sandbox_enter(rights_of(role), spool, &why) ? 200 : fn());
	CHECK_INT(waitpid(pid, &status, 0), pid);
	return status;
}

static bool has_landlock(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 1;
}

static int create_in_spool(void)
{
	char path[1100];
	int fd;

	snprintf(path, sizeof(path), "%s/file", spool);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	return fd >= 0 ? 0 : errno;
}

static int read_file(void)
{
	int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	char byte;

	return fd >= 0 && read(fd, &byte, 1) == 1 ? 0 : 1;
}

static int make_socket(void)
{
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0 ? 0 : errno;
}

static int make_local_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0 ? 0 : errno;
}

static int start_program(void)
{
	execl("/bin/true", "true", (char *)NULL);
	return errno;
}

static int start_process(void)
{
	return (int)syscall(SYS_fork) < 0 ? errno : 0;
}

static int call_unknown(void)
{
	return syscall(SYS_io_uring_setup, 1, NULL) < 0 ? errno : 0;
}

TEST(qmgr_creates_files_in_the_spool)
{
	CHECK_INT(run_inside(ROLE_QMGR, create_in_spool), 0);
}

TEST(smtpd_creates_no_file)
{
	int status = run_inside(ROLE_SMTPD, create_in_spool);

	CHECK_INT(WEXITSTATUS(status), has_landlock() ? EACCES : 0);
}

TEST(every_role_reads_files)
{
	CHECK_INT(run_inside(ROLE_SMTPD, read_file), 0);
	CHECK_INT(run_inside(ROLE_QMGR, read_file), 0);
}

TEST(smtpd_and_smtp_make_connections)
{
	CHECK_INT(run_inside(ROLE_SMTPD, make_socket), 0);
	CHECK_INT(run_inside(ROLE_SMTP, make_socket), 0);
}

/* What follows is the filter's part; builds with a sanitizer have Landlock alone. */

TEST(qmgr_has_local_sockets_only)
{
	int status = run_inside(ROLE_QMGR, make_socket);

	CHECK_INT(WEXITSTATUS(status), sandbox_has_filter() ? ENOSYS : 0);
	CHECK_INT(run_inside(ROLE_QMGR, make_local_socket), 0);
}

TEST(starting_a_program_ends_the_process)
{
	int status = run_inside(ROLE_SMTPD, start_program);

	if (sandbox_has_filter())
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	else
		CHECK_INT(WEXITSTATUS(status), has_landlock() ? EACCES : 0);
}

TEST(starting_a_process_ends_the_process)
{
	int status = run_inside(ROLE_SMTPD, start_process);

	CHECK_INT(WIFSIGNALED(status) ? WTERMSIG(status) : 0, sandbox_has_filter() ? SIGSYS : 0);
}

TEST(an_unlisted_call_does_not_exist)
{
	int status = run_inside(ROLE_QMGR, call_unknown);

	if (sandbox_has_filter())
		CHECK_INT(WEXITSTATUS(status), ENOSYS);
	else
		CHECK(WEXITSTATUS(status) != 0);
}

TEST(local_may_start_programs)
{
	CHECK_INT(run_inside(ROLE_LOCAL, start_program), 0);
}
