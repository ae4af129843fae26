/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams: the buffers on both sides of a socket.
 *
 * Input lies in in[in_at, in_end). Buffers come from a small pool in two sizes and go back
 * as soon as they are empty and the fiber has to wait, so an idle stream holds none.
 * A read that brought less than it asked for has emptied the socket: the next one waits for
 * an event at once instead of asking in vain. That spares a system call for each command.
 */
#include <errno.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/net_internal.h"

enum { BLOCK_SMALL = 4 * 1024, BLOCK_LARGE = 64 * 1024, POOL_MAX = 32, PRINTF_MAX = 16 * 1024, TURN_SIZE = 128 * 1024 };

struct pool {
	char *blocks[POOL_MAX];
	size_t count;
};

static struct pool small_pool, large_pool;

static struct pool *pool_of(size_t size)
{
	return size == BLOCK_SMALL ? &small_pool : size == BLOCK_LARGE ? &large_pool : NULL;
}

static char *block_get(size_t size)
{
	struct pool *p = pool_of(size);
	char *block = p && p->count ? p->blocks[--p->count] : malloc(size);

	if (!block)
		die("out of memory for a network buffer");
	return block;
}

static void block_put(char *block, size_t size)
{
	struct pool *p = pool_of(size);

	if (block && p && p->count < POOL_MAX)
		p->blocks[p->count++] = block;
	else
		free(block);
}

/* The least size of a block that holds `need` bytes. */
static size_t block_size(size_t need)
{
	if (need <= BLOCK_SMALL)
		return BLOCK_SMALL;
	return need <= BLOCK_LARGE ? BLOCK_LARGE : 2 * need;
}

struct stream *stream_new(int fd)
{
	struct stream *s = mem_alloc(sizeof(*s));

	watch_init(&s->watch, fd);
	s->timeout = duration_s(300);
	s->deadline = INSTANT_NEVER;
	/* The first wait registers with the loop, which then tells of what came before as well. */
	s->is_drained = true;
	return s;
}

static void in_release(struct stream *s)
{
	block_put(s->in, s->in_size);
	s->in = NULL;
	s->in_at = s->in_end = s->in_size = 0;
}

static void out_release(struct stream *s)
{
	block_put(s->out, s->out_size);
	s->out = NULL;
	s->out_len = s->out_size = 0;
}

void stream_free(struct stream *s)
{
	if (!s)
		return;
	stream_tls_free(s);
	in_release(s);
	out_release(s);
	watch_close(&s->watch);
	free(s);
}

int stream_fd(const struct stream *s)
{
	return s->watch.fd;
}

void stream_set_timeout(struct stream *s, struct duration timeout)
{
	s->timeout = timeout;
}

void stream_set_deadline(struct stream *s, struct instant deadline)
{
	s->deadline = deadline;
}

int stream_wait_for(struct stream *s, enum watch_for what)
{
	struct instant until = clock_deadline(s->timeout);
	int err = watch_wait(&s->watch, what, instant_is_before(s->deadline, until) ? s->deadline : until);

	if (!err && what == WATCH_READ)
		s->is_drained = false;
	return err;
}

ssize_t stream_recv_raw(struct stream *s, void *ptr, size_t size)
{
	if (s->is_drained)
		return -EAGAIN;

	ssize_t n = recv(s->watch.fd, ptr, size, 0);

	if (n < 0)
		n = errno == EINTR ? -EAGAIN : -errno;
	s->is_drained = n == -EAGAIN || (n > 0 && (size_t)n < size);
	return n;
}

ssize_t stream_send_raw(struct stream *s, const void *ptr, size_t size)
{
	ssize_t n;

	do
		n = send(s->watch.fd, ptr, size, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static ssize_t stream_recv(struct stream *s, void *ptr, size_t size, enum watch_for *ret_wait)
{
	*ret_wait = WATCH_READ;
	return s->tls ? stream_tls_recv(s, ptr, size, ret_wait) : stream_recv_raw(s, ptr, size);
}

static ssize_t stream_send(struct stream *s, const void *ptr, size_t size, enum watch_for *ret_wait)
{
	*ret_wait = WATCH_WRITE;
	return s->tls ? stream_tls_send(s, ptr, size, ret_wait) : stream_send_raw(s, ptr, size);
}

/* Room for at least one byte behind in_end, with what is unread kept. */
static void in_make_room(struct stream *s)
{
	size_t len = s->in_end - s->in_at;

	if (s->in_at && (!len || s->in_end == s->in_size)) {
		memmove(s->in, s->in + s->in_at, len);
		s->in_at = 0;
		s->in_end = len;
	}
	if (s->in_end < s->in_size)
		return;

	size_t size = s->wants_large && !len ? (size_t)BLOCK_LARGE : block_size(len + 1);
	char *block = block_get(size);

	if (len)
		memcpy(block, s->in, len);
	block_put(s->in, s->in_size);
	s->in = block;
	s->in_size = size;
}

/* Asks once. Bytes added, or -errno; -EPIPE at the end of input. */
static ssize_t in_ask(struct stream *s, enum watch_for *ret_wait)
{
	in_make_room(s);

	size_t room = s->in_size - s->in_end;
	ssize_t n = stream_recv(s, s->in + s->in_end, room, ret_wait);

	if (n == 0)
		n = -EPIPE;
	if (n > 0) {
		s->wants_large = (size_t)n == room || (s->wants_large && n > BLOCK_SMALL);
		s->in_end += (size_t)n;
	} else if (s->in_at == s->in_end) {
		in_release(s);
	}
	return n;
}

/* A peer that sends faster than we read never makes us wait: the other fibers must have their turn all the same. */
static int in_give_way(struct stream *s, size_t received)
{
	s->in_a_row += received;
	if (s->in_a_row < TURN_SIZE)
		return 0;
	s->in_a_row = 0;
	return fiber_yield();
}

/* Adds at least one byte to the input. What we have to say goes out before we wait for an answer. */
static int in_fill(struct stream *s)
{
	for (;;) {
		enum watch_for what = WATCH_READ;
		ssize_t n = -EAGAIN;
		int err;

		if (!s->is_drained || s->tls)
			n = in_ask(s, &what);
		else if (s->in_at == s->in_end)
			in_release(s);
		if (n != -EAGAIN)
			return n < 0 ? (int)n : in_give_way(s, (size_t)n);
		s->in_a_row = 0;
		err = s->out_len ? stream_flush(s) : 0;
		if (!err)
			err = stream_wait_for(s, what);
		if (err)
			return err;
	}
}

static void in_skip(struct stream *s, size_t count)
{
	s->in_at += size_min(count, s->in_end - s->in_at);
}

/* The rest of a line that is too long passes by; its first `max` bytes stay in *ret_line. */
static int skip_long_line(struct stream *s, size_t max, struct str *ret_line, bool *ret_bare)
{
	char last = s->in[s->in_end - 1];

	for (;;) {
		size_t start = s->in_at + max;

		s->in_end = start;

		int err = in_fill(s);

		if (err)
			return err;
		start = s->in_at + max;

		char *lf = memchr(s->in + start, '\n', s->in_end - start);

		if (lf) {
			*ret_bare = (lf > s->in + start ? lf[-1] : last) != '\r';
			*ret_line = str_n(s->in + s->in_at, max);
			s->in_at = (size_t)(lf + 1 - s->in);
			return -EMSGSIZE;
		}
		last = s->in[s->in_end - 1];
	}
}

int stream_read_line(struct stream *s, size_t max, struct str *ret_line, bool *ret_bare)
{
	size_t scanned = 0;

	*ret_line = str_n("", 0);
	*ret_bare = false;
	for (;;) {
		size_t len = s->in_end - s->in_at;
		char *start = s->in + s->in_at;
		char *lf = len > scanned ? memchr(start + scanned, '\n', len - scanned) : NULL;

		if (lf) {
			size_t line = (size_t)(lf - start);

			*ret_bare = !(line && lf[-1] == '\r');
			line -= !*ret_bare;
			in_skip(s, (size_t)(lf - start) + 1);
			*ret_line = str_n(start, size_min(line, max));
			return line > max ? -EMSGSIZE : 0;
		}
		if (len >= max + 2)
			return skip_long_line(s, max, ret_line, ret_bare);
		scanned = len;

		int err = in_fill(s);

		if (err)
			return err;
	}
}

int stream_read_some(struct stream *s, size_t max, struct str *ret_bytes)
{
	*ret_bytes = str_n("", 0);
	if (s->in_at == s->in_end) {
		int err = in_fill(s);

		if (err)
			return err;
	}
	*ret_bytes = str_n(s->in + s->in_at, size_min(max, s->in_end - s->in_at));
	s->in_at += ret_bytes->len;
	return 0;
}

bool stream_has_input(const struct stream *s)
{
	return s->in_at < s->in_end || (s->tls && stream_tls_has_input(s));
}

bool stream_is_quiet(const struct stream *s)
{
	return !stream_has_input(s) && s->is_drained && !(s->watch.ready & (1U << WATCH_READ)) && !s->watch.is_read_ended;
}

size_t stream_gathered(const struct stream *s)
{
	return s->out_len;
}

struct str stream_at_hand(const struct stream *s)
{
	return s->in_at < s->in_end ? str_n(s->in + s->in_at, s->in_end - s->in_at) : str_n("", 0);
}

struct str stream_peek(struct stream *s)
{
	enum watch_for what;

	if (s->in_at == s->in_end) {
		s->is_drained = false;
		(void)in_ask(s, &what);
	}
	return stream_at_hand(s);
}

int stream_fill(struct stream *s, size_t max)
{
	return s->in_end - s->in_at >= max ? -ENOBUFS : in_fill(s);
}

void stream_skip(struct stream *s, size_t count)
{
	in_skip(s, count);
}

size_t stream_discard_input(struct stream *s)
{
	size_t count = 0;

	/* Whoever sends without end shall not hold us here; what is left then spoils the handshake. */
	for (int i = 0; i < 64; i++) {
		struct str seen = stream_peek(s);

		if (!seen.len)
			break;
		count += seen.len;
		in_skip(s, seen.len);
	}
	return count;
}

static int send_all(struct stream *s, const char *ptr, size_t len)
{
	enum watch_for what;

	while (len) {
		ssize_t n = stream_send(s, ptr, len, &what);
		int err = n == -EAGAIN ? stream_wait_for(s, what) : n < 0 ? (int)n : 0;

		if (err)
			return s->write_error = err;
		if (n > 0) {
			ptr += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

int stream_flush(struct stream *s)
{
	int err = s->write_error;

	if (!err && s->out_len)
		err = send_all(s, s->out, s->out_len);
	out_release(s);
	return err;
}

int stream_write(struct stream *s, struct str bytes)
{
	if (s->write_error)
		return s->write_error;
	if (s->out_len + bytes.len > BLOCK_LARGE) {
		int err = stream_flush(s);

		if (err)
			return err;
		if (bytes.len > BLOCK_LARGE)
			return send_all(s, bytes.ptr, bytes.len);
	}
	if (s->out_len + bytes.len > s->out_size) {
		size_t size = block_size(s->out_len + bytes.len);
		char *block = block_get(size);

		if (s->out_len)
			memcpy(block, s->out, s->out_len);
		block_put(s->out, s->out_size);
		s->out = block;
		s->out_size = size;
	}
	if (bytes.len)
		memcpy(s->out + s->out_len, bytes.ptr, bytes.len);
	s->out_len += bytes.len;
	return 0;
}

int stream_printf(struct stream *s, const char *fmt, ...)
{
	struct buf line = BUF_INIT(PRINTF_MAX);
	va_list args;

	va_start(args, fmt);
	buf_vaddf(&line, fmt, args);
	va_end(args);

	int err = buf_check(&line);

	if (!err)
		err = stream_write(s, buf_str(&line));
	buf_done(&line);
	return err;
}

void stream_shutdown(struct stream *s)
{
	int err = stream_flush(s);

	if (s->tls)
		stream_tls_close(s);
	if (err || (s->is_drained && s->in_at == s->in_end))
		return;
	/* Closing with unread input would reset the connection, and our last words might be lost. */
	shutdown(s->watch.fd, SHUT_WR);
	s->deadline = clock_deadline(duration_s(1));
	for (int i = 0; i < 64 && !err; i++) {
		char scrap[2048];
		ssize_t n = stream_recv_raw(s, scrap, sizeof(scrap));

		err = n == -EAGAIN ? stream_wait_for(s, WATCH_READ) : n <= 0;
	}
}

void stream_idle(struct stream *s)
{
	if (s->in_at == s->in_end)
		in_release(s);
	if (!s->out_len)
		out_release(s);
	s->wants_large = false;
}
