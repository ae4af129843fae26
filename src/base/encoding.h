/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as text and back: base64 (RFC 4648), hexadecimal; and the checksum CRC-32C. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

void base64_encode(struct buf *to, struct str bytes);
/* Fails with -EINVAL on anything but whole, padded groups. What was added before stays. */
[[nodiscard]] int base64_decode(struct buf *to, struct str text);
/* The same for base64url without padding (RFC 4648, 5; RFC 7515, 2). */
[[nodiscard]] int base64url_decode(struct buf *to, struct str text);
void hex_encode(struct buf *to, struct str bytes);

/* CRC-32C (Castagnoli). Start with 0 and pass the result on to continue. */
uint32_t crc32c(uint32_t crc, const void *ptr, size_t len);
