/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share: the stream's insides and how TLS hooks into them. */
#pragma once

#include <openssl/types.h>

#include "fiber/fiber.h"
#include "net/stream.h"
#include "net/tls.h"
#include "net/tls_log.h"

/* The TLS side of a stream; one allocation, made when a handshake starts. */
struct stream_tls {
	SSL *ssl;
	char *text; /* what the strings of `info` point into */
	struct tls_info info;
	char why[256]; /* the reason of a failed handshake */
	enum tls_sni_fate sni_fate;
	int verify_error;          /* what has been found wrong with the chain of a client so far */
	const struct tls_log *log; /* NULL: nothing is told on the way */
	struct tls_trace *trace;   /* what a trace is gathered in, or NULL */
	bool is_up;
	bool is_by_records; /* the server must match a TLSA record, or an anchor that is given like one */
};

struct stream {
	struct watch watch;
	struct duration timeout;
	struct instant deadline;
	char *in; /* NULL while empty */
	size_t in_at;
	size_t in_end;
	size_t in_size;
	char *out; /* NULL while empty */
	size_t out_len;
	size_t out_size;
	int write_error;               /* sticks */
	bool is_drained;               /* the last read took all there was: wait before asking again */
	bool wants_large;              /* the peer sends much: read into large buffers */
	size_t in_a_row;               /* bytes read since it last waited */
	struct stream_tls *tls;        /* NULL in clear */
	const struct tls_log *tls_log; /* for the handshake to come */
};

/* stream.c: one system call each. Bytes moved, 0 at the end of input, or -errno, -EAGAIN among them. */
ssize_t stream_recv_raw(struct stream *s, void *ptr, size_t size);
ssize_t stream_send_raw(struct stream *s, const void *ptr, size_t size);
[[nodiscard]] int stream_wait_for(struct stream *s, enum watch_for what) WAITS;

/* stream_tls.c: as the raw ones, inside TLS; *ret_wait says for what to wait after -EAGAIN. */
ssize_t stream_tls_recv(struct stream *s, void *ptr, size_t size, enum watch_for *ret_wait);
ssize_t stream_tls_send(struct stream *s, const void *ptr, size_t size, enum watch_for *ret_wait);
bool stream_tls_has_input(const struct stream *s);
/* Sends close_notify, if that is possible at once. */
void stream_tls_close(struct stream *s);
void stream_tls_free(struct stream *s);

/* tls_log.c: what a connection's log wants told; each costs next to nothing where it wants nothing. */
void tls_log_begin(SSL *ssl, bool is_server);
void tls_log_certificate(SSL *ssl, X509 *x, int depth, bool is_ok);
void tls_log_ticket(SSL *ssl, bool is_new);
/* The trace goes to whom it was made for. */
void tls_log_end(struct stream_tls *t);
void tls_log_bytes(const struct stream_tls *t, bool is_write, const void *ptr, size_t asked, ssize_t got);

/* tls.c */
SSL_CTX *tls_context_ssl(const struct tls_context *ctx);
/* Those that each connection must be told of, or NULL. */
const struct tls_anchors *tls_context_anchors(const struct tls_context *ctx);
/* tls_info.c: reads off what was agreed. Returns the memory that the strings of *ret_info lie in. */
char *tls_info_read(SSL *ssl, bool is_server, struct tls_info *ret_info);
