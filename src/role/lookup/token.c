/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program "token": runs the commands that print access tokens, for token_keeper.c. It is
 * mail_owner, never root, and can gain no rights. A worker runs one command: without a shell, in
 * a session of its own, with nothing of our environment, for so long and no longer.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "base/buf.h"
#include "base/clock.h"
#include "role/lookup/nursery.h"
#include "role/lookup/token.h"

enum { ARGUMENTS_MAX = 100, STEP_MS = 10 };

/* A pipe from the command; -1 when it is closed. */
struct outlet {
	int fd;
	struct buf text; /* what goes beyond it is read and forgotten */
	bool is_too_long;
};

struct run {
	int channel;
	pid_t pid;
	struct instant deadline;
	struct outlet output, complaint;
};

/* Above the descriptors of the child, or dup2() would mix them up. */
static int open_pipe(int *ret_read, int *ret_write)
{
	int low[2], high[2];

	if (pipe2(low, O_CLOEXEC))
		return -errno;
	for (size_t i = 0; i < 2; i++) {
		high[i] = fcntl(low[i], F_DUPFD_CLOEXEC, 10);
		close(low[i]);
	}
	if (high[0] < 0 || high[1] < 0)
		return -EMFILE;
	*ret_read = high[0];
	*ret_write = high[1];
	return 0;
}

static int spawn(struct run *r, char **argv, int output, int complaint)
{
	static char *environment[] = {(char *)(uintptr_t) "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	                              (char *)(uintptr_t) "LC_ALL=C.UTF-8", NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int err;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, output, 1);
	posix_spawn_file_actions_adddup2(&actions, complaint, 2);
	posix_spawn_file_actions_addchdir_np(&actions, "/");
	posix_spawn_file_actions_addclosefrom_np(&actions, 3);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	err = posix_spawn(&r->pid, argv[0], &actions, &attr, argv, environment);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return -err;
}

static int start(struct run *r, char **argv)
{
	int output = -1, complaint = -1, err = open_pipe(&r->output.fd, &output);

	if (!err)
		err = open_pipe(&r->complaint.fd, &complaint);
	if (!err)
		err = spawn(r, argv, output, complaint);
	if (output >= 0)
		close(output);
	if (complaint >= 0)
		close(complaint);
	return err;
}

static void read_outlet(struct outlet *o)
{
	char bytes[1024];
	ssize_t got = read(o->fd, bytes, sizeof(bytes));

	if (got > 0) {
		size_t room = o->text.max - o->text.len;

		o->is_too_long |= (size_t)got > room;
		buf_add_bytes(&o->text, bytes, size_min((size_t)got, room));
		explicit_bzero(bytes, sizeof(bytes));
	} else if (!(got < 0 && (errno == EINTR || errno == EAGAIN))) {
		close(o->fd);
		o->fd = -1;
	}
}

static int time_left_ms(const struct run *r)
{
	int64_t left = duration_between(clock_now(), r->deadline).ns / 1000000;

	return left < 0 ? 0 : left > 1000000 ? 1000000 : (int)left;
}

/* Until the command closes both. -ETIMEDOUT, or -EPIPE when nobody wants to know any more. */
static int listen_to(struct run *r)
{
	while (r->output.fd >= 0 || r->complaint.fd >= 0) {
		struct pollfd fds[] = {{r->output.fd, POLLIN, 0}, {r->complaint.fd, POLLIN, 0}, {r->channel, POLLIN, 0}};
		int count = poll(fds, COUNT_OF(fds), time_left_ms(r));

		if (count == 0)
			return -ETIMEDOUT;
		if (count < 0)
			continue;
		if (fds[2].revents)
			return -EPIPE;
		if (fds[0].revents)
			read_outlet(&r->output);
		if (fds[1].revents)
			read_outlet(&r->complaint);
	}
	return 0;
}

/* Waits for its end with the time that is left. */
static int reap(struct run *r, int *ret_status)
{
	for (;;) {
		struct pollfd fd = {r->channel, POLLIN, 0};
		pid_t pid = waitpid(r->pid, ret_status, WNOHANG);

		if (pid == r->pid)
			return 0;
		if (pid < 0 && errno != EINTR)
			return -errno;
		if (time_left_ms(r) == 0)
			return -ETIMEDOUT;
		if (poll(&fd, 1, STEP_MS) > 0)
			return -EPIPE;
	}
}

static int run(struct run *r, char **argv, int *ret_status)
{
	int err = start(r, argv);

	if (err)
		return err;
	err = listen_to(r);
	if (!err)
		err = reap(r, ret_status);
	/* It leads a session of its own: what it left behind goes as well. Until it is waited for, its number is its own. */
	if (err) {
		(void)kill(-r->pid, SIGKILL);
		(void)waitpid(r->pid, ret_status, 0);
	}
	return err ? err : r->output.is_too_long ? -EMSGSIZE : 0;
}

static int split_arguments(struct str text, char **argv)
{
	size_t count = 0;

	for (size_t at = 0; at < text.len; at += strlen(text.ptr + at) + 1) {
		if (count == ARGUMENTS_MAX || !memchr(text.ptr + at, '\0', text.len - at))
			return -E2BIG;
		argv[count++] = (char *)(uintptr_t)text.ptr + at;
	}
	argv[count] = NULL;
	return count ? 0 : -EINVAL;
}

static void work(int fd, const struct message *order)
{
	const struct message_token_command *m = &order->token_command;
	struct run r = {.channel = fd,
	                .deadline = clock_deadline(duration_s(m->time_limit_s)),
	                .output = {.fd = -1, .text = BUF_INIT(TOKEN_OUTPUT_MAX)},
	                .complaint = {.fd = -1, .text = BUF_INIT(TOKEN_COMPLAINT_MAX)}};
	char *argv[ARGUMENTS_MAX + 1];
	struct message done = {.type = MESSAGE_TOKEN_OUTPUT};
	int status = 0, err = split_arguments(m->arguments, argv);

	(void)umask(077);
	if (!err)
		err = run(&r, argv, &status);
	done.token_output = (struct message_token_output){.error = (uint32_t)-err,
	                                                  .status = (uint32_t)status,
	                                                  .output = buf_str(&r.output.text),
	                                                  .complaint = buf_str(&r.complaint.text)};
	nursery_send(fd, &done);
}

int main(int argc, char **argv)
{
	return nursery_main(argc, argv, MESSAGE_TOKEN_COMMAND, work);
}
