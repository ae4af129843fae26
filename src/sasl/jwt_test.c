/* SPDX-License-Identifier: Apache-2.0 */
/* Signed tokens: the examples of RFC 7515, and what may not pass. */
#include "sasl/jwt.h"

#include <errno.h>

#include "check.h"

/* RFC 7515, A.1 and A.3: the same claims, expiring at 1300819380, made out by "joe". */
#define CLAIMS "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
#define HS256 "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." CLAIMS ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
#define ES256 \
	"eyJhbGciOiJFUzI1NiJ9." CLAIMS ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
/* {"alg":"none"} */
#define NONE "eyJhbGciOiJub25lIn0." CLAIMS "."

static const char secret[] = "HS256 AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ+EstJQLr/T+1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow==\n";
static const char public[] = "-----BEGIN PUBLIC KEY-----\n"
			     "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n"
			     "6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"
			     "-----END PUBLIC KEY-----\n";

/* The same keys as the standard writes them. */
#define OCT_KEY \
	"{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow\"}"
#define EC_POINT \
	"\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\"," \
	"\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\""

TEST(the_examples_of_the_standard_are_good)
{
	static const struct {
		const char *label, *keys, *token, *why;
		int64_t now;
	} cases[] = {
		{"a shared secret", secret, HS256, NULL, 1300819000},
		{"a public key", public, ES256, NULL, 1300819000},
		{"a set", "{\"keys\":[" OCT_KEY ",{" EC_POINT ",\"kid\":\"a\"}]}", ES256, NULL, 1300819000},
		{"a set, its secret", "{\"keys\":[" OCT_KEY ",{" EC_POINT "}]}", HS256, NULL, 1300819000},
		{"one key in JSON", " {" EC_POINT ",\"alg\":\"ES256\",\"use\":\"sig\"} ", ES256, NULL, 1300819000},
		{"a set with strangers",
	         "{\"keys\":[{\"kty\":\"new\"},{\"kty\":\"EC\",\"crv\":\"secp256k1\"},{\"kty\":\"RSA\",\"use\":\"enc\"},"
	         "{\"kty\":\"OKP\",\"crv\":\"X25519\"},{\"kty\":\"RSA\",\"alg\":\"RSA-OAEP\"},{" EC_POINT "}]}",
	         ES256, NULL, 1300819000},
		{"a key for another algorithm", "{" EC_POINT ",\"alg\":\"RS256\"}", ES256,
	         "none of the keys has signed the token", 1300819000},
		{"expired", public, ES256, "the token has expired", 1300819500},
		{"the other key", public, HS256, "none of the keys has signed the token", 1300819000},
		{"the other secret", secret, ES256, "none of the keys has signed the token", 1300819000},
		{"no signature", secret, NONE, "the token is no JWT", 1300819000},
		{"none, with one", secret, NONE "AAAA", "the token's algorithm is none of ours", 1300819000},
		{"half a signature", public, "eyJhbGciOiJFUzI1NiJ9." CLAIMS ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmU",
	         "none of the keys has signed the token", 1300819000},
		{"padding", public, ES256 "==", "none of the keys has signed the token", 1300819000},
		{"five parts", public, ES256 ".a.b", "the token is no JWT", 1300819000},
		{"nothing", public, "", "the token is no JWT", 1300819000},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct claim_rules rules = {
			.issuer = STR("joe"), .username = STR("iss"), .now = cases[i].now, .must_expire = true};
		struct arena a = ARENA_INIT;
		struct buf why = BUF_INIT(1000);
		struct str user = {0};
		const char *reason = NULL;
		struct jwt_keys *keys = NULL;
		int err;

		CHECK_INT(jwt_keys_parse(str_of(cases[i].keys), &keys, &why), 0);
		err = jwt_check(str_of(cases[i].token), keys, &rules, &a, &user, &reason);
		CHECK_CASE(err == (cases[i].why ? -EACCES : 0), cases[i].label);
		if (cases[i].why)
			CHECK_STR(str_of(reason), str_of(cases[i].why));
		else
			CHECK_STR(user, STR("joe"));
		jwt_keys_free(keys);
		buf_done(&why);
		arena_done(&a);
	}
}

TEST(claims_are_held_against_the_rules)
{
	static const struct {
		const char *claims, *why;
	} cases[] = {
		{"{\"email\":\"joe\",\"aud\":\"mail\",\"iss\":\"me\",\"scope\":\"a smtp b\"}", NULL},
		{"{\"email\":\"joe\",\"aud\":[1,\"web\",\"mail\"],\"iss\":\"me\",\"scope\":\"smtp\"}", NULL},
		{"{\"email\":\"joe\",\"aud\":[\"web\"],\"iss\":\"me\",\"scope\":\"smtp\"}", "the token is for another audience"},
		{"{\"email\":\"joe\",\"iss\":\"me\",\"scope\":\"smtp\"}", "the token is for another audience"},
		{"{\"email\":\"joe\",\"aud\":\"mail\",\"iss\":[\"me\"],\"scope\":\"smtp\"}", "the token has another issuer"},
		{"{\"email\":\"joe\",\"aud\":\"mail\",\"iss\":\"me\",\"scope\":\"smtps\"}", "the token lacks a scope"},
		{"{\"email\":\"joe\",\"aud\":\"mail\",\"iss\":\"me\",\"scope\":\"smtp\",\"exp\":\"9999999999\"}",
	         "the token has expired"},
		{"{\"email\":\"joe\",\"aud\":\"mail\",\"iss\":\"me\",\"scope\":\"smtp\",\"nbf\":2000}",
	         "the token is not valid yet"},
		{"{\"email\":\"j oe\",\"aud\":\"mail\",\"iss\":\"me\",\"scope\":\"smtp\"}", "the token names no user"},
		{"{\"email\":[\"joe\"],\"aud\":\"mail\",\"iss\":\"me\",\"scope\":\"smtp\"}", "the token names no user"},
	};
	struct claim_rules rules = {
		.issuer = STR("me"), .audience = STR("mail"), .scope = STR("smtp"), .username = STR("email"), .now = 1000};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct arena a = ARENA_INIT;
		json_t *claims = claims_parse(str_of(cases[i].claims));
		struct str user;
		const char *why = NULL;

		CHECK_CASE(claims != NULL, cases[i].claims);
		CHECK_CASE((claims_check(claims, &rules, &a, &user, &why) == 0) == !cases[i].why, cases[i].claims);
		if (cases[i].why)
			CHECK_STR(str_of(why), str_of(cases[i].why));
		json_decref(claims);
		arena_done(&a);
	}
}

TEST(hostile_json_is_no_claim)
{
	static const char *const cases[] = {
		"", "[]", "\"x\"", "{", "{\"a\":1,\"a\":2}", "{\"a\":[[[[[[[[[[]]]]]]]]]]}", "{\"a\":\"\\u0000\"}"};

	for (size_t i = 0; i < COUNT_OF(cases); i++)
		CHECK_CASE(!claims_parse(str_of(cases[i])), cases[i]);
}

TEST(keys_that_are_too_weak_are_refused)
{
	static const char *const cases[] = {
		"",
		"{\"keys\":[]}",
		"{\"keys\":{}}",
		"{\"keys\":[1]}",
		"{\"keys\":[{\"kty\":\"new\"}]}",
		"{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2hvcnQ\"}]}",
		"{\"keys\":[{\"kty\":\"oct\"}]}",
		"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}",
		"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\"}]}",
		"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}]}",
		"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
		"\"y\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\"}",
		"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AQAB\"}",
		"{" EC_POINT,
		"junk",
		"HS256 c2hvcnQ=",
		"HS256 !!",
		"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
		"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VuAyEAjSC41kqMFeoOUrxO3T1sL"
		"Z5hcNHBHGbCkLwTTuPiGkQ=\n-----END PUBLIC KEY-----\n"};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct buf why = BUF_INIT(1000);
		struct jwt_keys *keys;

		CHECK_CASE(jwt_keys_parse(str_of(cases[i]), &keys, &why) == -EINVAL, cases[i]);
		CHECK_CASE(why.len > 0, cases[i]);
		buf_done(&why);
	}
}
