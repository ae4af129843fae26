/* SPDX-License-Identifier: Apache-2.0 */
/* The content of a message on its way to the server, as DATA wants it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"
#include "net/stream.h"

/* Where in a line the text stands between two pieces. */
struct body_state {
	size_t column;     /* bytes of this line so far */
	bool has_cr;       /* the last piece ended with a CR: whether it begins a line end is not known yet */
	size_t line_limit; /* longer lines are broken with CRLF and a blank; 0 for none, else 2 at least */
};

/* Gathers `text` with dots doubled at line starts and long lines broken. */
[[nodiscard]] int body_write(struct stream *s, struct body_state *state, struct str text) WAITS;
/*
 * Sends `size` bytes of the file from `at` on, and ends the last line; the final dot is the caller's. A line limit
 * below 12 counts as 12.
 * -EIO when the file does not hold them, else as the stream.
 */
[[nodiscard]] int body_send(struct stream *s, int fd, uint64_t at, uint64_t size, size_t line_limit) WAITS;
/* The same for a server that takes seven bits only: see downgrade.h. */
[[nodiscard]] int body_send_downgraded(struct stream *s, int fd, uint64_t at, uint64_t size, size_t line_limit) WAITS;
