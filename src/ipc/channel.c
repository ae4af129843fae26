/* SPDX-License-Identifier: Apache-2.0 */
/* Channels; the packet format stands in channel.h. */
#include "ipc/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	PACKET_VERSION = 1,
	PACKET_HEAD = 2,
	PACKET_MAX = 128 << 10, /* a third of the largest send buffer that an ordinary process may ask for */
	PACKET_FDS = 16,
	RECEIVED_FDS = PACKET_FDS + 1, /* a message in parts has its own in the first, and others may follow in the last */
	SOCKET_BUFFER = 212992,        /* net.core.wmem_max of a Linux that nobody tuned; it counts twice */
};

/* A packet that waits to be sent. */
struct packet {
	struct list link;
	struct buf bytes;
	int fds[PACKET_FDS];
	size_t fd_count;
};

struct channel {
	struct watch watch;
	struct list unsent; /* struct packet, oldest first */
	size_t unsent_size;
	struct list dirty_link; /* in dirty while something is unsent and no writer fiber waits */
	struct fiber *writer;   /* waits for room in the socket; NULL when it has room */
	struct wait_list room;
	bool is_freed; /* the writer frees it when it ends */
	int send_error;

	char *packet;          /* PACKET_MAX bytes, from the first receive on */
	struct buf assembly;   /* parts of a message larger than a packet */
	bool is_partial;       /* `assembly` waits for more */
	struct str frames;     /* what is not decoded yet, in `packet` or `assembly` */
	unsigned in_a_row;     /* messages given out without letting others run */
	int fds[RECEIVED_FDS]; /* received, not given out yet */
	size_t fd_count, fd_next;
	int recv_error;
};

/* All channels with something to send; one loop a process. */
static struct list dirty;

static void flush(struct channel *ch);

static void flush_all(void *arg)
{
	LIST_EACH(&dirty, it)
		flush(LIST_ENTRY(it, struct channel, dirty_link));
}

void channel_loop_init(void)
{
	list_init(&dirty);
	loop_add_hook(flush_all, NULL);
}

bool channel_any_unsent(void)
{
	return !list_is_empty(&dirty);
}

static void set_buffers(int fd)
{
	int size = SOCKET_BUFFER;

	/* Refused buffers mean smaller ones, which hold a packet as well. */
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

int channel_socketpair(int ret_fds[2])
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds))
		return -errno;
	set_buffers(fds[0]);
	set_buffers(fds[1]);
	ret_fds[0] = fds[0];
	ret_fds[1] = fds[1];
	return 0;
}

struct channel *channel_new(int fd)
{
	struct channel *ch = mem_alloc(sizeof(*ch));

	watch_init(&ch->watch, fd);
	list_init(&ch->unsent);
	list_init(&ch->dirty_link);
	wait_list_init(&ch->room);
	buf_init(&ch->assembly, MESSAGE_SIZE_MAX + PACKET_MAX);
	return ch;
}

static void packet_free(struct packet *p)
{
	list_remove(&p->link);
	for (size_t i = 0; i < p->fd_count; i++)
		close(p->fds[i]);
	buf_done(&p->bytes);
	free(p);
}

static void drop_unsent(struct channel *ch)
{
	LIST_EACH(&ch->unsent, it)
		packet_free(LIST_ENTRY(it, struct packet, link));
	ch->unsent_size = 0;
	list_remove(&ch->dirty_link);
}

static void close_received_fds(struct channel *ch)
{
	while (ch->fd_next < ch->fd_count)
		close(ch->fds[ch->fd_next++]);
	ch->fd_count = ch->fd_next = 0;
}

static void destroy(struct channel *ch)
{
	int fd = ch->watch.fd;

	drop_unsent(ch);
	close_received_fds(ch);
	watch_done(&ch->watch);
	close(fd);
	buf_done(&ch->assembly);
	free(ch->packet);
	free(ch);
}

void channel_free(struct channel *ch)
{
	if (!ch)
		return;
	flush(ch);
	ch->is_freed = true;
	if (ch->writer)
		fiber_cancel(ch->writer);
	else
		destroy(ch);
}

static int unix_address(const char *path, struct sockaddr_un *to)
{
	*to = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(to->sun_path))
		return -ENAMETOOLONG;
	memcpy(to->sun_path, path, strlen(path));
	return 0;
}

/*
 * The socket's own mode becomes that of its name. A chmod() of the name would change whatever another user with rights in that
 * folder has put there meanwhile.
 */
static int bind_with_mode(int fd, const struct sockaddr_un *address, mode_t mode)
{
	mode_t before = umask(0);
	int err = fchmod(fd, mode) || bind(fd, (const struct sockaddr *)address, sizeof(*address)) ? -errno : 0;

	umask(before);
	return err;
}

int channel_listen(const char *path, mode_t mode, int *ret_fd)
{
	enum { BACKLOG = 128 };
	struct sockaddr_un address;
	int fd, err = unix_address(path, &address);

	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	err = unlink(path) && errno != ENOENT ? -errno : bind_with_mode(fd, &address, mode);
	if (!err && listen(fd, BACKLOG))
		err = -errno;
	if (err)
		close(fd);
	else
		*ret_fd = fd;
	return err;
}

int channel_connect(const char *path, struct channel **ret_channel)
{
	struct sockaddr_un address;
	int fd, err = unix_address(path, &address);

	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* A full backlog makes a person's command wait a moment rather than fail. */
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) || fcntl(fd, F_SETFL, O_NONBLOCK)) {
		err = -errno;
		close(fd);
		return err;
	}
	set_buffers(fd);
	*ret_channel = channel_new(fd);
	return 0;
}

int channel_accept(struct watch *w, struct channel **ret_channel)
{
	for (;;) {
		int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), err;

		if (fd >= 0) {
			set_buffers(fd);
			*ret_channel = channel_new(fd);
			return 0;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if (errno != EAGAIN)
			return -errno;
		err = watch_wait(w, WATCH_READ, INSTANT_NEVER);
		if (err)
			return err;
	}
}

int channel_peer_uid(const struct channel *ch, uid_t *ret_uid)
{
	struct ucred who;
	socklen_t size = sizeof(who);

	if (getsockopt(ch->watch.fd, SOL_SOCKET, SO_PEERCRED, &who, &size))
		return -errno;
	*ret_uid = who.uid;
	return 0;
}

/* --- sending --------------------------------------------------------------------- */

/* The control part of a packet with descriptors, sized for the most there can be. */
union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int) * PACKET_FDS)];
};

static int send_packet(struct channel *ch, const struct packet *p)
{
	union control control = {0};
	struct iovec iov = {p->bytes.ptr, p->bytes.len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (p->fd_count) {
		struct cmsghdr *head = &control.align;

		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(sizeof(int) * p->fd_count);
		memcpy(CMSG_DATA(head), p->fds, sizeof(int) * p->fd_count);
		msg.msg_control = head;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * p->fd_count);
	}
	while (sendmsg(ch->watch.fd, &msg, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

static void write_later(void *arg)
{
	struct channel *ch = arg;

	while (!ch->is_freed && !list_is_empty(&ch->unsent)) {
		int err = watch_wait(&ch->watch, WATCH_WRITE, INSTANT_NEVER);

		if (err)
			break;
		flush(ch);
	}
	ch->writer = NULL;
	if (ch->is_freed)
		destroy(ch);
}

static void flush(struct channel *ch)
{
	int err = ch->send_error;

	while (!err && !list_is_empty(&ch->unsent)) {
		struct packet *p = LIST_ENTRY(list_first(&ch->unsent), struct packet, link);

		err = send_packet(ch, p);
		if (!err) {
			ch->unsent_size -= p->bytes.len;
			packet_free(p);
		}
	}
	list_remove(&ch->dirty_link);
	if (err == -EAGAIN || err == -ENOBUFS) {
		if (!ch->writer && !ch->is_freed)
			ch->writer = fiber_start("channel", write_later, ch);
	} else if (err) {
		ch->send_error = -EPIPE;
		drop_unsent(ch);
	}
	if (ch->unsent_size <= CHANNEL_ROOM)
		wait_list_wake_all(&ch->room);
}

static struct packet *packet_add(struct channel *ch, bool has_more)
{
	struct packet *p = mem_alloc(sizeof(*p));

	buf_init(&p->bytes, PACKET_MAX);
	buf_add_u8(&p->bytes, PACKET_VERSION);
	buf_add_u8(&p->bytes, has_more);
	list_add(&ch->unsent, &p->link);
	ch->unsent_size += PACKET_HEAD;
	return p;
}

/* A message that no packet holds: as many packets as it takes, of its own. */
static void add_split(struct channel *ch, struct str frame, int fd)
{
	while (frame.len) {
		size_t size = size_min(frame.len, PACKET_MAX - PACKET_HEAD);
		struct packet *p = packet_add(ch, size < frame.len);

		buf_add(&p->bytes, str_cut(frame, 0, size));
		ch->unsent_size += size;
		if (fd >= 0)
			p->fds[p->fd_count++] = fd;
		fd = -1;
		frame = str_from(frame, size);
	}
}

/* The packet that still takes a frame; a split message closes its packets by filling all but the last one. */
static struct packet *packet_with_room(struct channel *ch, size_t size, bool needs_fd)
{
	struct packet *last;

	if (list_is_empty(&ch->unsent))
		return packet_add(ch, false);
	last = LIST_ENTRY(ch->unsent.prev, struct packet, link);
	if (last->bytes.len + size > PACKET_MAX || (needs_fd && last->fd_count == PACKET_FDS))
		return packet_add(ch, false);
	return last;
}

int channel_send(struct channel *ch, const struct message *m)
{
	static struct buf frame = BUF_INIT(MESSAGE_SIZE_MAX); /* kept: every message passes through it */
	int fd = -1, err;

	if (ch->send_error)
		return ch->send_error;
	buf_reset(&frame);
	message_encode(&frame, m);
	err = buf_check(&frame);
	if (!err && ch->unsent_size + frame.len > CHANNEL_QUEUE_MAX)
		err = -ENOBUFS;
	if (!err && message_has_fd(m->type)) {
		fd = fcntl(m->fd, F_DUPFD_CLOEXEC, 3);
		err = fd < 0 ? -errno : 0;
	}
	if (!err && frame.len > PACKET_MAX - PACKET_HEAD) {
		add_split(ch, buf_str(&frame), fd);
	} else if (!err) {
		struct packet *p = packet_with_room(ch, frame.len, fd >= 0);

		buf_add(&p->bytes, buf_str(&frame));
		ch->unsent_size += frame.len;
		if (fd >= 0)
			p->fds[p->fd_count++] = fd;
	}
	if (frame.size > PACKET_MAX)
		buf_done(&frame);
	if (!err && !ch->writer) {
		list_remove(&ch->dirty_link);
		list_add(&dirty, &ch->dirty_link);
	}
	return err;
}

int channel_wait_room(struct channel *ch, struct instant deadline)
{
	while (ch->unsent_size > CHANNEL_ROOM && !ch->send_error) {
		int err = wait_list_wait(&ch->room, deadline);

		if (err)
			return err;
	}
	return ch->send_error;
}

size_t channel_queued(const struct channel *ch)
{
	return ch->unsent_size;
}

/* --- receiving ------------------------------------------------------------------- */

/* Keeps the descriptors of a packet. False when there are more than its messages can have. */
static bool take_fds(struct channel *ch, struct msghdr *msg)
{
	bool is_good = !(msg->msg_flags & MSG_CTRUNC);

	for (struct cmsghdr *head = CMSG_FIRSTHDR(msg); head; head = CMSG_NXTHDR(msg, head)) {
		size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(head) + i * sizeof(int), sizeof(fd));
			if (ch->fd_count < RECEIVED_FDS) {
				ch->fds[ch->fd_count++] = fd;
			} else {
				close(fd);
				is_good = false;
			}
		}
	}
	return is_good;
}

/* One packet into ch->packet. -EAGAIN, -EPIPE, -EBADMSG. */
static int recv_packet(struct channel *ch, struct str *ret_packet)
{
	union control control;
	struct iovec iov = {.iov_len = PACKET_MAX};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	ssize_t size;

	if (!ch->packet)
		ch->packet = mem_alloc(PACKET_MAX);
	iov.iov_base = ch->packet;
	do
		size = recvmsg(ch->watch.fd, &msg, MSG_CMSG_CLOEXEC);
	while (size < 0 && errno == EINTR);
	if (size < 0)
		return errno == EAGAIN ? -EAGAIN : -EPIPE;
	if (!take_fds(ch, &msg))
		return -EBADMSG;
	if (size == 0)
		return -EPIPE;
	if (size <= PACKET_HEAD || msg.msg_flags & MSG_TRUNC || ch->packet[0] != PACKET_VERSION || (ch->packet[1] & ~1))
		return -EBADMSG;
	*ret_packet = str_n(ch->packet, (size_t)size);
	return 0;
}

/* Reads packets until there are frames to decode. A deadline in the middle of a split message loses nothing. */
static int recv_frames(struct channel *ch, struct instant deadline)
{
	if (!ch->is_partial)
		buf_done(&ch->assembly);
	for (;;) {
		bool was_partial = ch->is_partial;
		struct str packet;
		int err = recv_packet(ch, &packet);

		if (err == -EAGAIN) {
			err = watch_wait(&ch->watch, WATCH_READ, deadline);
			if (err)
				return err;
			continue;
		}
		if (err)
			return err;
		ch->is_partial = packet.ptr[1];
		packet = str_from(packet, PACKET_HEAD);
		if (!was_partial && !ch->is_partial) {
			ch->frames = packet;
			return 0;
		}
		buf_add(&ch->assembly, packet);
		if (buf_check(&ch->assembly))
			return -EBADMSG;
		if (!ch->is_partial) {
			ch->frames = buf_str(&ch->assembly);
			return 0;
		}
	}
}

/* A busy peer must not keep the other fibers waiting. */
static int give_way(struct channel *ch)
{
	enum { IN_A_ROW = 256 };

	if (++ch->in_a_row < IN_A_ROW)
		return 0;
	ch->in_a_row = 0;
	return fiber_yield();
}

int channel_recv(struct channel *ch, struct instant deadline, struct message *ret_message)
{
	struct message m;
	int err = ch->recv_error;

	if (!err && give_way(ch))
		return -ECANCELED;
	if (!err && !ch->frames.len) {
		err = ch->fd_count ? -EBADMSG : recv_frames(ch, deadline);
		if (err == -ETIMEDOUT || err == -ECANCELED)
			return err;
	}
	if (!err)
		err = message_decode(&ch->frames, &m);
	if (!err && message_has_fd(m.type)) {
		if (ch->fd_next == ch->fd_count)
			err = -EBADMSG;
		else
			m.fd = ch->fds[ch->fd_next++];
		if (ch->fd_next == ch->fd_count)
			ch->fd_count = ch->fd_next = 0;
	}
	if (err) {
		ch->recv_error = err;
		return err;
	}
	*ret_message = m;
	return 0;
}
