/* SPDX-License-Identifier: Apache-2.0 */
/* What only the servers of tests need: a local stream socket to listen on, and the next client as a fiber waits for it. */
#pragma once

#include <errno.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"
#include "net/connect.h"

[[maybe_unused]] static int listen_local(const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	CHECK(strlen(path) < sizeof(at.sun_path));
	memcpy(at.sun_path, path, strlen(path) < sizeof(at.sun_path) ? strlen(path) : 0);
	unlink(path);
	CHECK_INT(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	CHECK_INT(listen(fd, 10), 0);
	return fd;
}

static int accept_next(struct watch *listener, int *ret_fd) WAITS;
static int accept_next(struct watch *listener, int *ret_fd)
{
	struct sockaddr_storage peer;
	int err;

	while ((err = accept_now(listener->fd, ret_fd, &peer)) == -EAGAIN) {
		err = watch_wait(listener, WATCH_READ, INSTANT_NEVER);
		if (err)
			break;
	}
	return err;
}
