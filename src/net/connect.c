/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets: connecting, listening and accepting. */
#include "net/connect.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/ip.h"
#include "net/net_internal.h"

static const int one = 1;

static int connect_wait(int fd, const struct sockaddr *to, socklen_t size, struct duration timeout)
{
	struct watch w;
	int err;
	socklen_t err_size = sizeof(err);

	if (!connect(fd, to, size))
		return 0;
	if (errno != EINPROGRESS)
		return -errno;
	watch_init(&w, fd);
	err = watch_wait(&w, WATCH_WRITE, clock_deadline(timeout));
	watch_done(&w);
	if (err)
		return err;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &err_size))
		return -errno;
	return -err;
}

static int tcp_socket(const struct sockaddr *to, const struct sockaddr *from, int *ret_fd)
{
	int fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	*ret_fd = -1;
	if (fd < 0)
		return -errno;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (from) {
		/* The port is chosen at connect, so that all are usable for each destination. */
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
		if (bind(fd, from, ip_size(from))) {
			int err = -errno;

			close(fd);
			return err;
		}
	}
	*ret_fd = fd;
	return 0;
}

int connect_tcp(const struct sockaddr *to, const struct sockaddr *from, struct duration timeout, int *ret_fd)
{
	int fd;
	int err = tcp_socket(to, from, &fd);

	*ret_fd = -1;
	if (err)
		return err;
	err = connect_wait(fd, to, ip_size(to), timeout);
	if (err)
		close(fd);
	else
		*ret_fd = fd;
	return err;
}

/* The descriptor is the stream's while it connects, so that it is registered with the loop only once. */
static int connect_in_stream(struct stream *s, const struct sockaddr *to)
{
	int err;
	socklen_t size = sizeof(err);

	if (!connect(stream_fd(s), to, ip_size(to)))
		return 0;
	if (errno != EINPROGRESS)
		return -errno;
	err = stream_wait_for(s, WATCH_WRITE);
	if (err)
		return err;
	/* A failure shows as a hang-up. */
	if (!s->watch.is_write_ended)
		return 0;
	if (getsockopt(stream_fd(s), SOL_SOCKET, SO_ERROR, &err, &size))
		return -errno;
	return -err;
}

int connect_stream(const struct sockaddr *to, const struct sockaddr *from, struct duration timeout, struct stream **ret_stream)
{
	int fd;
	int err = tcp_socket(to, from, &fd);
	struct stream *s;

	*ret_stream = NULL;
	if (err)
		return err;
	s = stream_new(fd);
	stream_set_timeout(s, timeout);
	err = connect_in_stream(s, to);
	if (err)
		stream_free(s);
	else
		*ret_stream = s;
	return err;
}

static int local_address(struct str path, struct sockaddr_un *ret_address)
{
	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (!path.len || path.len >= sizeof(ret_address->sun_path))
		return -ENAMETOOLONG;
	memcpy(ret_address->sun_path, path.ptr, path.len);
	return 0;
}

int connect_local(struct str path, struct duration timeout, int *ret_fd)
{
	struct instant deadline = clock_deadline(timeout);
	struct sockaddr_un to;
	int err = local_address(path, &to);
	int fd;

	*ret_fd = -1;
	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* A full backlog shows as EAGAIN, and no event tells when it has room again. */
	while ((err = connect_wait(fd, (struct sockaddr *)&to, sizeof(to), timeout)) == -EAGAIN) {
		err = instant_is_before(deadline, clock_now()) ? -ETIMEDOUT : fiber_sleep(duration_ms(20));
		if (err)
			break;
	}
	if (err)
		close(fd);
	else
		*ret_fd = fd;
	return err;
}

int listen_tcp(const struct sockaddr *at, int backlog, int *ret_fd)
{
	int fd = socket(at->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	*ret_fd = -1;
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	/* Accepted sockets inherit it: what follows a first small write would wait 40 ms for a delayed acknowledgement. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	/* Each family has its own socket, so that addresses are never written as ::ffff:1.2.3.4. */
	if (at->sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, at, ip_size(at)) || listen(fd, backlog)) {
		int err = -errno;

		close(fd);
		return err;
	}
	*ret_fd = fd;
	return 0;
}

int accept_now(int listener, int *ret_fd, struct sockaddr_storage *ret_peer)
{
	for (;;) {
		socklen_t size = sizeof(*ret_peer);

		*ret_fd = accept4(listener, (struct sockaddr *)ret_peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (*ret_fd >= 0) {
			if (size < sizeof(ret_peer->ss_family))
				ret_peer->ss_family = AF_UNIX;
			ip_unmap(ret_peer);
			return 0;
		}
		if (errno == EAGAIN || errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM ||
		    errno == EBADF || errno == EINVAL)
			return -errno;
	}
}
