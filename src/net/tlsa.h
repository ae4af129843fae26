/* SPDX-License-Identifier: Apache-2.0 */
/* TLSA records (RFC 6698, 7671): what they say, whether SMTP may use them (RFC 7672, 3.1), and which of them count. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

struct tlsa {
	uint8_t usage;    /* 2: an authority of theirs; 3: the server's own */
	uint8_t selector; /* 0: the certificate, 1: its public key */
	uint8_t matching; /* 0: as it is, 1: SHA-256, 2: SHA-512 */
	struct str data;
};

/* Matching types that count, the strongest first. */
struct tlsa_digest {
	uint8_t matching;
	char name[32]; /* as OpenSSL knows it */
	size_t size;   /* in bytes */
};

enum { TLSA_DIGESTS_MAX = 8 };

struct tlsa_digests {
	struct tlsa_digest list[TLSA_DIGESTS_MAX];
	size_t count;
};

/* "sha512 sha256", or "sha512=2 sha256=1", as tls_dane_digests has it. -EINVAL with the reason. */
[[nodiscard]] int tlsa_digests_parse(struct str text, struct tlsa_digests *ret_digests, struct buf *why);

/* The data of one record; views into it. -EBADMSG. */
[[nodiscard]] int tlsa_decode(struct str rdata, struct tlsa *ret_record);
/* NULL when it can be used, else the reason in words. */
const char *tlsa_unusable(const struct tlsa *r, const struct tlsa_digests *digests);
/*
 * Keeps the usable ones, and of those that differ in their digest alone the strongest (RFC 7671, 9); returns how many are
 * left at the front. `records` changes its order otherwise not.
 */
size_t tlsa_select(struct tlsa *records, size_t count, const struct tlsa_digests *digests);
/* "3 1 1 AB12...". */
void tlsa_format(struct buf *to, const struct tlsa *r);
