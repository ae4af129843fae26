/* SPDX-License-Identifier: Apache-2.0 */
/* Socket addresses: as values that compare, and as text. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/str.h"

enum { IP_TEXT_SIZE = 48 }; /* of any IPv4 or IPv6 address, with the NUL */

/* "192.0.2.1" or "2001:db8::1". IPv4 inside IPv6 becomes IPv4. -EINVAL for anything else; no names. */
[[nodiscard]] int ip_parse(struct str text, uint16_t port, struct sockaddr_storage *ret_address);
/* From 4 or 16 raw bytes, as DNS gives them. */
[[nodiscard]] int ip_from_bytes(struct str bytes, uint16_t port, struct sockaddr_storage *ret_address);
/* The address without port into `text`, which is returned; "unknown" for other families. */
const char *ip_format(const struct sockaddr *a, char text[static IP_TEXT_SIZE]);
/* The 4 or 16 raw bytes, in place; empty for other families. */
struct str ip_bytes(const struct sockaddr *a);
uint16_t ip_port(const struct sockaddr *a);
/* The bytes that a bind() or connect() wants. */
socklen_t ip_size(const struct sockaddr *a);
/* Same family and host; ports do not count. */
bool ip_is_same_host(const struct sockaddr *a, const struct sockaddr *b);
/* IPv4 inside IPv6 becomes IPv4, in place. */
void ip_unmap(struct sockaddr_storage *a);
/* A number, a name of mail's own ("smtp", "submission", "lmtp"), or one of /etc/services. -ENOENT. */
[[nodiscard]] int ip_parse_port(struct str text, uint16_t *ret_port);
