/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON web tokens (RFC 7515, 7519), signed, checked with keys that lie here. The key decides which
 * algorithms are good: RSA from 2048 bits on RS256, RS384, RS512; P-256 ES256; P-384 ES384; Ed25519 EdDSA; a shared secret HS256,
 * HS384, HS512. "none" is no algorithm. Tokens with critical extensions, or encrypted ones, are refused.
 */
#pragma once

#include "base/buf.h"
#include "sasl/claims.h"

struct jwt_keys;

/*
 * Any number of public keys in PEM, one behind the other; or lines "HS256 SECRET", the secret in base64 and at least 32 bytes
 * long; or a set of keys in JSON (RFC 7517), of which a token that names one is checked with that alone. -EINVAL with what is
 * wrong.
 */
[[nodiscard]] int jwt_keys_parse(struct str text, struct jwt_keys **ret_keys, struct buf *why);
void jwt_keys_free(struct jwt_keys *keys);

/* Three parts with points between them. */
bool jwt_has_form(struct str token);
/* 0 and the user, or -EACCES with a static text in *why. */
[[nodiscard]] int jwt_check(struct str token, const struct jwt_keys *keys, const struct claim_rules *rules, struct arena *a,
                            struct str *ret_username, const char **why);
