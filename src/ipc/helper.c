/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

static struct {
	char path[1024]; /* empty: where the running program lies */
} folder;

void helper_set_folder(struct str path)
{
	snprintf(folder.path, sizeof(folder.path), "%.*s", STR_ARG(path));
}

static int spawn(const char *program, const char *name, const char *owner, int fd)
{
	char *argv[] = {(char *)(uintptr_t)name, (char *)(uintptr_t)owner, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none;
	pid_t pid;
	int err;

	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fd, HELPER_FD);
	posix_spawn_file_actions_addclosefrom_np(&actions, HELPER_FD + 1);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	err = posix_spawn(&pid, program, &actions, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return -err;
}

/* "/usr/libexec/postrider/lookup" becomes "/usr/libexec/postrider/PROGRAM". */
static int program_path(const char *program, struct buf *to)
{
	char self[1024];
	struct str path = str_of(folder.path);
	ssize_t size;

	if (!path.len) {
		size = readlink("/proc/self/exe", self, sizeof(self));
		if (size < 0)
			return -errno;
		path = str_n(self, (size_t)size);
		path = str_cut(path, 0, str_find_last(path, '/'));
	}
	buf_addf(to, "%.*s/%s", STR_ARG(path), program);
	return buf_check(to);
}

int helper_start(const char *program, struct str owner, struct channel **ret_channel, struct buf *why)
{
	struct buf path = BUF_INIT(2048);
	char *user = str_cstr(owner);
	int fds[2], high, err = channel_socketpair(fds);

	if (err) {
		free(user);
		return err;
	}
	high = fcntl(fds[1], F_DUPFD_CLOEXEC, 10);
	close(fds[1]);
	err = high < 0 ? -errno : program_path(program, &path);
	if (!err)
		err = spawn(buf_cstr(&path), program, user, high);
	if (high >= 0)
		close(high);
	if (err) {
		buf_addf(why, "cannot start %s: %s", buf_cstr(&path), strerror(-err));
		close(fds[0]);
	} else {
		*ret_channel = channel_new(fds[0]);
	}
	buf_done(&path);
	free(user);
	return err;
}

int helper_fork(struct channel *helper, struct message *m, struct channel **ret_channel)
{
	int fds[2], err = channel_socketpair(fds);

	if (err)
		return err;
	m->fd = fds[1];
	err = channel_send(helper, m);
	m->fd = -1;
	close(fds[1]);
	if (err)
		close(fds[0]);
	else
		*ret_channel = channel_new(fds[0]);
	return err;
}
