/* SPDX-License-Identifier: Apache-2.0 */
/* Private keys and certificate chains from PEM files, for an OpenSSL context or for one connection. */
#pragma once

#include <openssl/types.h>

#include "net/tls_settings.h"

/* Keys with their certificates, one for each algorithm. */
struct tls_chains;

/*
 * Reads all keys that the settings name, or that stand in `pem` in the order of a chain file (`name` is for messages).
 * Fails with file and reason in `why`, and what to do about it. No key at all is no error: see tls_chains_count().
 */
[[nodiscard]] int tls_chains_read(const struct tls_settings *s, struct tls_chains **ret_chains, struct buf *why);
[[nodiscard]] int tls_chains_parse(struct str pem, struct str name, struct tls_chains **ret_chains, struct buf *why);
size_t tls_chains_count(const struct tls_chains *c);
/* Both may be used as often as is wanted, and the chains freed afterwards. */
[[nodiscard]] int tls_chains_use(const struct tls_chains *c, SSL_CTX *ctx, struct buf *why);
/* In place of what the connection's context has. */
[[nodiscard]] int tls_chains_use_for(const struct tls_chains *c, SSL *ssl);
void tls_chains_free(struct tls_chains *c);

/* Diffie-Hellman parameters: "" and "auto" let OpenSSL choose, "none" switches DHE off, else a file. */
[[nodiscard]] int tls_dh_load(SSL_CTX *ctx, const struct tls_settings *s, struct buf *why);
/*
 * Trust anchors, certificates and public keys, from files parted by blanks or commas. Fails with file and reason in `why`.
 */
struct tls_anchors;
[[nodiscard]] int tls_anchors_read(const struct tls_files *f, struct str files, struct tls_anchors **ret_anchors,
                                   struct buf *why);
void tls_anchors_free(struct tls_anchors *a);
/* Public keys are no certificates: where there are some, each connection must be told of all anchors. */
bool tls_anchors_have_keys(const struct tls_anchors *a);
/* The certificates among them, also those that did not sign themselves. */
[[nodiscard]] int tls_anchors_add_to(const struct tls_anchors *a, X509_STORE *store);
/* This connection trusts them all, and nothing else. */
[[nodiscard]] int tls_anchors_use_for(const struct tls_anchors *a, SSL *ssl);

/* The authorities in a file, and revocation lists with them; `has_names` sends their names to clients. */
[[nodiscard]] int tls_authorities_load(SSL_CTX *ctx, const struct tls_settings *s, bool has_names, struct buf *why);
