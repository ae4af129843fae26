/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection as a stream of bytes with deadlines, in clear or inside TLS. Reads are
 * buffered, writes gathered until flush, or until a read has to wait: what we have to say
 * goes out before we wait for an answer, so replies to pipelined commands leave together
 * without anyone calling flush. Memory of an idle stream is small: buffers are given back
 * when empty.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/str.h"
#include "net/tls.h"

struct stream;
struct tls_context;
struct tls_info;
struct tls_log;
struct tls_wish;

/* Takes the (non-blocking) descriptor over; nobody may hold a duplicate of it. */
[[nodiscard]] struct stream *stream_new(int fd);
/* Closes at once, without flushing. */
void stream_free(struct stream *s);
int stream_fd(const struct stream *s);

/* For all later waits: each single wait for the peer may last this long. */
void stream_set_timeout(struct stream *s, struct duration timeout);
/* A deadline over several calls; INSTANT_NEVER takes it away. The earlier one of both counts. */
void stream_set_deadline(struct stream *s, struct instant deadline);

/*
 * Reads one line up to LF. *ret_line is without the line end, *ret_bare tells that CR was
 * missing before LF; valid until the next read. Waits. -ETIMEDOUT, -ECANCELED, -EPIPE at the
 * end of input (an unfinished last line is dropped), -ECONNRESET, -EMSGSIZE when the line is
 * longer than `max`: it is cut there, *ret_line holds the first `max` bytes, and the rest of
 * the line has been skipped.
 */
[[nodiscard]] int stream_read_line(struct stream *s, size_t max, struct str *ret_line, bool *ret_bare) WAITS;
/* At least one byte, at most `max`, as a view valid until the next read. Waits. */
[[nodiscard]] int stream_read_some(struct stream *s, size_t max, struct str *ret_bytes) WAITS;
/* Is there input in the buffers? Costs no system call, so what the kernel holds does not count. */
bool stream_has_input(const struct stream *s);
/* Nothing has arrived and nobody has hung up, as far as the loop knows. Costs no system call. */
bool stream_is_quiet(const struct stream *s);
/* Bytes written and not flushed yet. */
size_t stream_gathered(const struct stream *s);
/* What has arrived and is not read yet, without waiting and without consuming; asks the socket once when empty. */
struct str stream_peek(struct stream *s);
/* The part of it that came already: the socket is not asked, and views of what was read before stay good. */
struct str stream_at_hand(const struct stream *s);
/* Reads more behind what stream_peek() shows, so that the view grows; waits. -ENOBUFS when `max` bytes are there already. */
[[nodiscard]] int stream_fill(struct stream *s, size_t max) WAITS;
/* Consumes the first `count` bytes of stream_peek(). */
void stream_skip(struct stream *s, size_t count);
/* Forgets all input that has arrived: what STARTTLS demands. Returns how many bytes that were. */
size_t stream_discard_input(struct stream *s);

/* Gathers; waits only when more than 64 KiB are gathered. The first error sticks and comes back from each later call. */
[[nodiscard]] int stream_write(struct stream *s, struct str bytes) WAITS;
[[nodiscard]] int stream_printf(struct stream *s, const char *fmt, ...) WAITS PRINTF_LIKE(2, 3);
[[nodiscard]] int stream_flush(struct stream *s) WAITS;

/* Before a handshake: where to tell what happens. It must stay as long as the stream. */
void stream_set_tls_log(struct stream *s, const struct tls_log *log);
/* Handshakes. Waits. -EPROTO with a reason in *why (static or in the stream), else as reads. */
[[nodiscard]] int stream_start_tls_server(struct stream *s, struct tls_context *ctx, const char **why) WAITS;
/* Goes on whoever the server is: stream_tls() and the tls_peer_ functions tell. -EINVAL for a wish that cannot be. */
[[nodiscard]] int stream_start_tls_client(struct stream *s, struct tls_context *ctx, const struct tls_wish *wish,
                                          const char **why) WAITS;
/* The name that a client asked for, and what became of it; also when the handshake has failed. */
enum tls_sni_fate stream_tls_sni(const struct stream *s, struct str *ret_name);
/* NULL in clear. */
const struct tls_info *stream_tls(const struct stream *s);
/* close_notify and FIN; waits at most a second for the peer. For an orderly end. */
void stream_shutdown(struct stream *s) WAITS;
/* Gives memory back that only busy connections need; the next read takes it again. */
void stream_idle(struct stream *s);
