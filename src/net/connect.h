/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets: connecting, listening and accepting. All are non-blocking, close-on-exec, and TCP never waits to gather. */
#pragma once

#include <sys/socket.h>

#include "base/clock.h"
#include "base/str.h"
#include "fiber/fiber.h"
#include "net/stream.h"

/* Connects, from `from` unless it is NULL. Waits. -errno of connect(), -ETIMEDOUT, -ECANCELED. */
[[nodiscard]] int connect_tcp(const struct sockaddr *to, const struct sockaddr *from, struct duration timeout, int *ret_fd) WAITS;
/* The same as a stream, whose timeout is `timeout`; cheaper than a stream made afterwards. */
[[nodiscard]] int connect_stream(const struct sockaddr *to, const struct sockaddr *from, struct duration timeout,
                                 struct stream **ret_stream) WAITS;
/* Connects to a stream socket in the file system. Waits. */
[[nodiscard]] int connect_local(struct str path, struct duration timeout, int *ret_fd) WAITS;
/* -errno; -EADDRINUSE and -EACCES are what operators see. */
[[nodiscard]] int listen_tcp(const struct sockaddr *at, int backlog, int *ret_fd);
/* A client that waits already, or -EAGAIN. What fails for one connection alone is passed over; -EMFILE and the like come back. */
[[nodiscard]] int accept_now(int listener, int *ret_fd, struct sockaddr_storage *ret_peer);
