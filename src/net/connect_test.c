/* SPDX-License-Identifier: Apache-2.0 */
#include "net/connect.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "check.h"

static int is_undelayed(int fd)
{
	int value = -1;
	socklen_t size = sizeof(value);

	return getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &size) ? -1 : value;
}

/* Both ends of a connection to a socket of listen_tcp(). */
static void meet(void *arg)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(at);
	struct sockaddr_storage peer;
	int listener, client, server;
	struct stream *s;

	(void)arg;
	CHECK_INT(listen_tcp((struct sockaddr *)&at, 10, &listener), 0);
	CHECK_INT(getsockname(listener, (struct sockaddr *)&at, &size), 0);
	CHECK_INT(is_undelayed(listener), 1);
	CHECK_INT(connect_tcp((struct sockaddr *)&at, NULL, duration_s(10), &client), 0);
	CHECK_INT(accept_now(listener, &server, &peer), 0);
	CHECK_INT(is_undelayed(client), 1);
	CHECK_INT(is_undelayed(server), 1);
	close(server);
	CHECK_INT(connect_stream((struct sockaddr *)&at, NULL, duration_s(10), &s), 0);
	CHECK_INT(is_undelayed(stream_fd(s)), 1);
	stream_free(s);
	close(client);
	close(listener);
}

TEST(small_writes_leave_at_once_at_both_ends)
{
	loop_init();
	fiber_start("test", meet, NULL);
	loop_run();
	loop_done();
}
