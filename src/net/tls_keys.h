/* SPDX-License-Identifier: Apache-2.0 */
/* Private keys and certificate chains from PEM files into an OpenSSL context. */
#pragma once

#include <openssl/types.h>

#include "net/tls_settings.h"

/*
 * Loads all keys of the settings, one for each algorithm. *ret_count says how many. Fails with
 * file and reason in `why`, and what to do about it.
 */
[[nodiscard]] int tls_keys_load(SSL_CTX *ctx, const struct tls_settings *s, size_t *ret_count, struct buf *why);
/* Diffie-Hellman parameters: "" and "auto" let OpenSSL choose, "none" switches DHE off, else a file. */
[[nodiscard]] int tls_dh_load(SSL_CTX *ctx, struct str file, struct buf *why);
