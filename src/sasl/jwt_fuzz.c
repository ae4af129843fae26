/* SPDX-License-Identifier: Apache-2.0 */
/* Signed tokens, against keys of every kind; and the claims alone, as an introspection server would give them. */
#include <stdlib.h>

#include "base/base.h"
#include "sasl/jwt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char public_keys[] = "-----BEGIN PUBLIC KEY-----\n"
				  "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEVs/o5+uQbTjL3chynL4wXgUg2R9\n"
				  "q9UU8I5mEovUf86QZ7kOBIjJwqnzD1omageEHWwHdBO6B+dFabmdT9POxg==\n"
				  "-----END PUBLIC KEY-----\n";

static struct jwt_keys *keys_of(struct str text)
{
	struct buf why = BUF_INIT(1000);
	struct jwt_keys *keys;

	if (jwt_keys_parse(text, &keys, &why))
		die("%s", buf_cstr(&why));
	return keys;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct jwt_keys *keys, *secrets;
	struct claim_rules rules = {
		.issuer = STR("me"), .audience = STR("mail"), .scope = STR("smtp"), .username = STR("email"), .now = 1700000000};
	struct str text = str_n((const char *)data, size), user;
	struct arena a = ARENA_INIT;
	const char *why = NULL;
	json_t *claims;

	if (!keys) {
		keys = keys_of(str_of(public_keys));
		secrets = keys_of(STR("HS256 MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n"));
	}
	if (!jwt_check(text, keys, &rules, &a, &user, &why))
		die("a token that nobody signed is good");
	if (jwt_check(text, secrets, &rules, &a, &user, &why) && !why)
		die("a refusal without a reason");
	claims = claims_parse(text);
	if (claims && !claims_check(claims, &rules, &a, &user, &why) && !user.len)
		die("a good token without a user");
	json_decref(claims);
	arena_done(&a);
	return 0;
}
