/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which chain a server shows to a client that names whom it wants (SNI). Keys are names in lower case and
 * ".parent" for all that lies below. Chains are read once and kept, a bounded number of them.
 */
#pragma once

#include <openssl/types.h>

#include "base/buf.h"
#include "base/str.h"

struct tls_files;
struct tls_sni;

/* What a table has for a key: PEM text in the order of a chain file, or files that hold it. */
struct tls_sni_value {
	struct buf pem;
	struct buf files; /* parted by blanks or commas; then `pem` does not count */
};
/* 0, -ENOENT for a key that is not there, or another error with words in `why`. */
typedef int tls_sni_find_fn(void *arg, struct str key, struct tls_sni_value *ret_value, struct buf *why);

[[nodiscard]] struct tls_sni *tls_sni_new(tls_sni_find_fn *find, void *arg);
void tls_sni_free(struct tls_sni *sni);
/* Reads the chain files of a key now, while we may: they are read again when they are renewed. */
[[nodiscard]] int tls_sni_add_files(struct tls_sni *sni, struct str key, struct str files, struct buf *why);
/* Reads all files again; where they are broken, what was there stays and `why` tells. What was found on demand is forgotten. */
[[nodiscard]] int tls_sni_renew(struct tls_sni *sni, const struct tls_files *files, struct buf *why);
/* Lets connections of this context choose. */
void tls_sni_use(struct tls_sni *sni, SSL_CTX *ctx);
