/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking a trusted resolver ourselves. libunbound clears the AD bit of what it is told by others, and rightly so; here the
 * operator has said that the bit may be believed. Each attempt has a port and an id of its own, so that nobody who cannot see the
 * question can answer it.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/random.h"
#include "fiber/fiber.h"
#include "net/connect.h"
#include "net/dns_internal.h"
#include "net/dns_message.h"
#include "net/ip.h"
#include "net/stream.h"

enum { ATTEMPTS = 3, FIRST_WAIT_S = 2, DATAGRAM_MAX = 4096, TCP_WAIT_S = 10 };

struct asking {
	const struct sockaddr *server;
	struct str name;
	enum dns_type type;
	struct arena *arena;
	struct dns_answer *answer;
	uint16_t id;
	size_t size; /* of the question */
	char question[DNS_QUESTION_MAX];
};

static struct instant earlier(struct instant a, struct instant b)
{
	return instant_is_before(a, b) ? a : b;
}

/* What is no answer to this question is passed over. */
static int receive(struct asking *q, struct watch *w, struct instant until)
{
	char *buffer = arena_alloc(q->arena, DATAGRAM_MAX);
	int err = 0;

	while (!err) {
		ssize_t n = recv(w->fd, buffer, DATAGRAM_MAX, 0);

		if (n >= 0) {
			int result = dns_answer_read(str_n(buffer, (size_t)n), q->name, q->type, q->id, q->arena, q->answer);

			if (result != -EBADMSG)
				return result;
		} else if (errno == EAGAIN) {
			err = watch_wait(w, WATCH_READ, until);
		} else {
			err = -errno;
		}
	}
	return err;
}

static int ask_by_datagram(struct asking *q, struct instant until)
{
	struct watch w;
	int fd = socket(q->server->sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), err = 0;

	if (fd < 0)
		return -errno;
	watch_init(&w, fd);
	if (connect(fd, q->server, ip_size(q->server)) || send(fd, q->question, q->size, 0) < 0)
		err = -errno;
	else
		err = receive(q, &w, until);
	watch_done(&w);
	close(fd);
	return err;
}

/* Exactly `size` bytes into memory of the arena. */
static int read_whole(struct stream *s, size_t size, struct arena *a, struct str *ret_bytes)
{
	char *to = arena_alloc(a, size + 1);
	struct str part;
	size_t got = 0;

	while (got < size) {
		int err = stream_read_some(s, size - got, &part);

		if (err)
			return err;
		memcpy(to + got, part.ptr, part.len);
		got += part.len;
	}
	*ret_bytes = str_n(to, size);
	return 0;
}

static int ask_by_stream(struct asking *q, struct instant until)
{
	char head[2] = {(char)(q->size >> 8), (char)q->size};
	struct stream *s;
	struct str bytes;
	int err = connect_stream(q->server, NULL, duration_s(TCP_WAIT_S), &s);

	if (err)
		return err;
	stream_set_deadline(s, until);
	err = stream_write(s, str_n(head, sizeof(head)));
	if (!err)
		err = stream_write(s, str_n(q->question, q->size));
	if (!err)
		err = read_whole(s, sizeof(head), q->arena, &bytes);
	if (!err)
		err = read_whole(s, (size_t)((unsigned char)bytes.ptr[0] << 8 | (unsigned char)bytes.ptr[1]), q->arena, &bytes);
	if (!err)
		err = dns_answer_read(bytes, q->name, q->type, q->id, q->arena, q->answer);
	stream_free(s);
	return err;
}

int dns_stub_ask(const struct sockaddr *server, struct str name, enum dns_type type, struct instant deadline, struct arena *a,
                 struct dns_answer *ret_answer)
{
	struct asking q = {.server = server, .name = name, .type = type, .arena = a, .answer = ret_answer};
	struct duration wait = duration_s(FIRST_WAIT_S);
	int err = -ETIMEDOUT;

	for (int i = 0; i < ATTEMPTS && err && err != -ECANCELED && instant_is_before(clock_now(), deadline); i++) {
		random_bytes(&q.id, sizeof(q.id));
		q.size = dns_question_make(name, type, q.id, q.question);
		if (!q.size)
			return -EINVAL;
		err = ask_by_datagram(&q, earlier(deadline, clock_deadline(wait)));
		if (err == -EMSGSIZE)
			err = ask_by_stream(&q, earlier(deadline, clock_deadline(duration_s(TCP_WAIT_S))));
		wait.ns *= 2;
	}
	return err;
}
