/* SPDX-License-Identifier: Apache-2.0 */
#include "role/lookup/nursery.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "ipc/helper.h"
#include "process/sandbox.h"

enum { PACKET_MAX = 256 << 10, FDS_MAX = 16, PACKET_HEAD = 2 };

/* --- packets ----------------------------------------------------------------------------------------- */

/* One whole message, or several, behind what `to` holds. 0, or an error at the end of the channel. */
static int recv_packets(int fd, struct buf *to, int fds[FDS_MAX], size_t *ret_fd_count)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control;
	bool goes_on = true;

	*ret_fd_count = 0;
	while (goes_on) {
		char *room = buf_room(to, PACKET_MAX);
		struct iovec iov = {.iov_base = room, .iov_len = PACKET_MAX};
		struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
		ssize_t size;

		if (!room)
			return -EMSGSIZE;
		size = recvmsg(fd, &mh, MSG_CMSG_CLOEXEC);
		if (size < 0 && errno == EINTR)
			continue;
		if (size < PACKET_HEAD || room[0] != 1)
			return -EPIPE;
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&mh); c; c = CMSG_NXTHDR(&mh, c))
			if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
				*ret_fd_count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
				memcpy(fds, CMSG_DATA(c), *ret_fd_count * sizeof(int));
			}
		goes_on = room[1] == 1;
		memmove(room, room + PACKET_HEAD, (size_t)size - PACKET_HEAD);
		buf_added(to, (size_t)size - PACKET_HEAD);
	}
	return 0;
}

/* Channels come non-blocking; here it is blocking that is wanted. */
static void make_blocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK))
		_exit(1);
}

void nursery_send(int fd, const struct message *m)
{
	struct buf packet = BUF_INIT(PACKET_MAX);
	ssize_t size;

	buf_add_bytes(&packet, "\1\0", PACKET_HEAD);
	message_encode(&packet, m);
	size = buf_check(&packet) ? -1 : send(fd, packet.ptr, packet.len, MSG_NOSIGNAL);
	if (size < 0)
		_exit(1);
	explicit_bzero(packet.ptr, packet.len);
	buf_done(&packet);
}

void nursery_serve(int fd, void (*take)(const struct message *m))
{
	struct buf packet = BUF_INIT(MESSAGE_SIZE_MAX);
	size_t fd_count;
	int fds[FDS_MAX];

	while (!recv_packets(fd, &packet, fds, &fd_count)) {
		struct str rest = buf_str(&packet);
		struct message m;

		while (rest.len && !message_decode(&rest, &m))
			take(&m);
		explicit_bzero(packet.ptr, packet.size);
		buf_reset(&packet);
	}
	buf_done(&packet);
}

/* --- forking ------------------------------------------------------------------------------------------- */

/* The first descriptor is the worker's channel; the others are for those that come after it. */
static void fork_worker(const int *fds, size_t fd_count, const struct message *order, nursery_worker_fn *work)
{
	pid_t pid = fork();

	if (pid == 0) {
		(void)signal(SIGCHLD, SIG_DFL);
		close(HELPER_FD);
		/* A worker sees its own dialogues alone, and the end of its channel tells of its end. */
		for (size_t i = 1; i < fd_count; i++)
			close(fds[i]);
		make_blocking(fds[0]);
		work(fds[0], order);
		_exit(0);
	}
	/* When there is no process, the channel's end says so. */
	close(fds[0]);
}

static void nurse(enum message_type order, nursery_worker_fn *work)
{
	struct buf packet = BUF_INIT(MESSAGE_SIZE_MAX);
	size_t fd_count, used;
	int fds[FDS_MAX];

	while (!recv_packets(HELPER_FD, &packet, fds, &fd_count)) {
		struct str rest = buf_str(&packet);
		struct message m;

		used = 0;
		while (rest.len && !message_decode(&rest, &m)) {
			if (m.type != order || used == fd_count)
				continue;
			fork_worker(&fds[used], fd_count - used, &m, work);
			used++;
		}
		while (used < fd_count)
			close(fds[used++]);
		buf_reset(&packet);
	}
	buf_done(&packet);
}

int nursery_main(int argc, char **argv, enum message_type order, nursery_worker_fn *work)
{
	struct buf why = BUF_INIT(1000);

	if (argc != 2) {
		fprintf(stderr, "%s: started by the lookup process only\n", argv[0]);
		return 1;
	}
	if (sandbox_become(argv[1], &why)) {
		fprintf(stderr, "%s: %s\n", argv[0], buf_cstr(&why));
		return 1;
	}
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	make_blocking(HELPER_FD);
	/* Nobody waits for workers: their channels tell when they end. */
	(void)signal(SIGCHLD, SIG_IGN);
	nurse(order, work);
	return 0;
}
