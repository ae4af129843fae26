/* SPDX-License-Identifier: Apache-2.0 */
/* JSON web keys (RFC 7517, 7518): how token servers publish what they sign with. */
#pragma once

#include <jansson.h>
#include <openssl/evp.h>

#include "base/buf.h"

/*
 * One key: *ret_pkey, which the caller frees, or NULL and the bytes of a shared secret. -ENOTSUP for one that signs nothing
 * that we know, which a set may well hold; -EINVAL for one that is broken, with a static text in *why.
 */
[[nodiscard]] int jwk_read(const json_t *jwk, EVP_PKEY **ret_pkey, struct buf *secret, const char **why);
