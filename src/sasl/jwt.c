/* SPDX-License-Identifier: Apache-2.0 */
/* Checking signed tokens. */
#include "sasl/jwt.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "base/encoding.h"
#include "sasl/jwk.h"

enum { TOKEN_MAX = 32 << 10, KEYS_MAX = 32, SECRET_MIN = 32, SECRET_MAX = 512, RSA_BITS_MIN = 2048, HALF_MAX = 48 };

enum key_kind { KEY_RSA, KEY_P256, KEY_P384, KEY_ED25519, KEY_SECRET };

struct key {
	enum key_kind kind;
	EVP_PKEY *pkey;
	char *name;                  /* "kid"; NULL: none */
	const struct algorithm *alg; /* the only one that it is for; NULL: all of its kind */
	unsigned char secret[SECRET_MAX];
	size_t secret_size;
};

struct jwt_keys {
	struct key items[KEYS_MAX];
	size_t count;
};

static const struct algorithm {
	const char *name;
	enum key_kind kind;
	const char *digest; /* NULL: the algorithm has its own */
	size_t half;        /* of an ECDSA signature, in bytes */
} algorithms[] = {
	{"RS256", KEY_RSA, "SHA256", 0},    {"RS384", KEY_RSA, "SHA384", 0},    {"RS512", KEY_RSA, "SHA512", 0},
	{"ES256", KEY_P256, "SHA256", 32},  {"ES384", KEY_P384, "SHA384", 48},  {"EdDSA", KEY_ED25519, NULL, 0},
	{"HS256", KEY_SECRET, "SHA256", 0}, {"HS384", KEY_SECRET, "SHA384", 0}, {"HS512", KEY_SECRET, "SHA512", 0},
};

static const struct algorithm *find_algorithm(const char *name)
{
	for (size_t i = 0; i < COUNT_OF(algorithms) && name; i++)
		if (strcmp(name, algorithms[i].name) == 0)
			return &algorithms[i];
	return NULL;
}

/* --- keys ---------------------------------------------------------------------------------------------- */

static bool find_kind(EVP_PKEY *pkey, enum key_kind *ret_kind)
{
	char group[64] = "";

	switch (EVP_PKEY_get_base_id(pkey)) {
	case EVP_PKEY_RSA:
		*ret_kind = KEY_RSA;
		return EVP_PKEY_get_bits(pkey) >= RSA_BITS_MIN;
	case EVP_PKEY_ED25519:
		*ret_kind = KEY_ED25519;
		return true;
	case EVP_PKEY_EC:
		(void)EVP_PKEY_get_group_name(pkey, group, sizeof(group), NULL);
		*ret_kind = strcmp(group, "secp384r1") == 0 ? KEY_P384 : KEY_P256;
		return *ret_kind == KEY_P384 || strcmp(group, "prime256v1") == 0;
	default:
		return false;
	}
}

static int add_pem(struct jwt_keys *keys, struct str text, struct buf *why)
{
	BIO *bio = BIO_new_mem_buf(text.ptr, (int)text.len);
	EVP_PKEY *pkey;
	int err = 0;

	while (!err && (pkey = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL))) {
		struct key *key = &keys->items[keys->count];

		if (keys->count < KEYS_MAX && find_kind(pkey, &key->kind)) {
			key->pkey = pkey;
			keys->count++;
			continue;
		}
		EVP_PKEY_free(pkey);
		buf_addf(why,
		         keys->count < KEYS_MAX ? "key %zu is none of RSA from %d bits on, P-256, P-384, Ed25519"
		                                : "more than %zu keys",
		         keys->count < KEYS_MAX ? keys->count + 1 : keys->count, (int)RSA_BITS_MIN);
		err = -EINVAL;
	}
	ERR_clear_error();
	BIO_free(bio);
	return err;
}

static int add_secrets(struct jwt_keys *keys, struct str text, struct buf *why)
{
	struct str line;

	while (str_next(&text, "\r\n", &line)) {
		struct key *key = &keys->items[keys->count];
		struct buf bytes = BUF_INIT(SECRET_MAX);
		struct str secret = str_trim(str_from(line, 5));
		bool is_good;

		if (str_is_empty(str_trim(line)) || line.ptr[0] == '#')
			continue;
		is_good = keys->count < KEYS_MAX && str_starts(line, STR("HS256")) && !base64_decode(&bytes, secret) &&
		          !buf_check(&bytes) && bytes.len >= SECRET_MIN;
		if (is_good) {
			key->kind = KEY_SECRET;
			memcpy(key->secret, bytes.ptr, bytes.len);
			key->secret_size = bytes.len;
			keys->count++;
		}
		if (bytes.ptr)
			explicit_bzero(bytes.ptr, bytes.size);
		buf_done(&bytes);
		if (!is_good) {
			buf_addf(why, "neither public keys in PEM nor lines \"HS256 SECRET\" with at least %d bytes in base64",
			         (int)SECRET_MIN);
			return -EINVAL;
		}
	}
	return 0;
}

static const char *fill_key(struct key *key, EVP_PKEY *pkey, const struct buf *secret)
{
	if (pkey)
		return find_kind(pkey, &key->kind) ? NULL : "it is none of RSA from 2048 bits on, P-256, P-384, Ed25519";
	if (secret->len < SECRET_MIN)
		return "the secret is shorter than 32 bytes";
	key->kind = KEY_SECRET;
	memcpy(key->secret, secret->ptr, secret->len);
	key->secret_size = secret->len;
	return NULL;
}

/* Keys for what we do not do are passed over (RFC 7517, 5). */
static int add_jwk(struct jwt_keys *keys, const json_t *jwk, const char **why)
{
	struct key *key = &keys->items[keys->count];
	struct buf secret = BUF_INIT(SECRET_MAX);
	const char *name = json_string_value(json_object_get(jwk, "kid"));
	const char *alg = json_string_value(json_object_get(jwk, "alg"));
	EVP_PKEY *pkey = NULL;
	int err = alg && !find_algorithm(alg) ? -ENOTSUP : jwk_read(jwk, &pkey, &secret, why);

	if (!err && keys->count == KEYS_MAX)
		*why = "there are too many";
	else if (!err)
		*why = fill_key(key, pkey, &secret);
	if (!err && !*why) {
		key->pkey = pkey;
		key->name = name ? mem_strdup(name) : NULL;
		key->alg = find_algorithm(alg);
		keys->count++;
	} else {
		EVP_PKEY_free(pkey);
		err = err == -ENOTSUP ? 0 : -EINVAL;
	}
	if (secret.ptr)
		explicit_bzero(secret.ptr, secret.size);
	buf_done(&secret);
	ERR_clear_error();
	return err;
}

/* A set of keys in JSON, or one key. */
static int add_set(struct jwt_keys *keys, struct str text, struct buf *why)
{
	json_t *object = claims_parse(text), *set = json_object_get(object, "keys");
	size_t count = json_is_array(set) ? json_array_size(set) : json_object_get(object, "kty") ? 1 : 0;
	const char *reason = NULL;
	int err = 0;

	for (size_t i = 0; i < count && !err; i++) {
		err = add_jwk(keys, set ? json_array_get(set, i) : object, &reason);
		if (err)
			buf_addf(why, "key %zu of the set: %s", i + 1, reason);
	}
	if (!err && !keys->count) {
		buf_addf(why, "%s", object ? "no key for signatures in the JSON (RFC 7517)" : "it is no JSON");
		err = -EINVAL;
	}
	json_decref(object);
	return err;
}

int jwt_keys_parse(struct str text, struct jwt_keys **ret_keys, struct buf *why)
{
	struct jwt_keys *keys = mem_alloc(sizeof(*keys));
	bool is_json = str_starts(str_trim(text), STR("{"));
	bool is_pem = !is_json && str_find_str(text, STR("-----BEGIN ")) < text.len;
	int err = is_json ? add_set(keys, text, why) : is_pem ? add_pem(keys, text, why) : add_secrets(keys, text, why);

	if (!err && !keys->count) {
		buf_addf(why, is_pem ? "no public key in PEM (`openssl pkey -in key.pem -pubout` makes it)" : "it is empty");
		err = -EINVAL;
	}
	if (err) {
		jwt_keys_free(keys);
		return err;
	}
	*ret_keys = keys;
	return 0;
}

void jwt_keys_free(struct jwt_keys *keys)
{
	if (!keys)
		return;
	for (size_t i = 0; i < keys->count; i++) {
		EVP_PKEY_free(keys->items[i].pkey);
		free(keys->items[i].name);
	}
	explicit_bzero(keys, sizeof(*keys));
	free(keys);
}

/* --- the signature --------------------------------------------------------------------------------------- */

static int decode_part(struct str text, struct buf *to)
{
	int err = base64url_decode(to, text);

	return err ? err : buf_check(to);
}

static bool has_mac(const struct key *key, const struct algorithm *alg, struct str signed_part, struct str signature)
{
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned size = 0;
	const EVP_MD *md = EVP_get_digestbyname(alg->digest);

	return md &&
	       HMAC(md, key->secret, (int)key->secret_size, (const unsigned char *)signed_part.ptr, signed_part.len, mac,
	            &size) &&
	       signature.len == size && CRYPTO_memcmp(mac, signature.ptr, size) == 0;
}

/* Two numbers side by side become what OpenSSL reads. */
static bool make_der(struct str signature, size_t half, unsigned char **ret_der, size_t *ret_size)
{
	ECDSA_SIG *sig;
	BIGNUM *r, *s;
	int size;

	if (signature.len != 2 * half)
		return false;
	sig = ECDSA_SIG_new();
	r = BN_bin2bn((const unsigned char *)signature.ptr, (int)half, NULL);
	s = BN_bin2bn((const unsigned char *)signature.ptr + half, (int)half, NULL);
	if (!sig || !r || !s || !ECDSA_SIG_set0(sig, r, s))
		die("no memory for a signature");
	*ret_der = NULL;
	size = i2d_ECDSA_SIG(sig, ret_der);
	ECDSA_SIG_free(sig);
	*ret_size = size > 0 ? (size_t)size : 0;
	return size > 0;
}

static bool is_signed(const struct key *key, const struct algorithm *alg, struct str signed_part, struct str signature)
{
	const unsigned char *bytes = (const unsigned char *)signature.ptr;
	unsigned char *der = NULL;
	size_t size = signature.len;
	EVP_MD_CTX *ctx;
	bool is_good;

	if (key->kind == KEY_SECRET)
		return has_mac(key, alg, signed_part, signature);
	if (alg->half && !make_der(signature, alg->half, &der, &size))
		return false;
	ctx = EVP_MD_CTX_new();
	is_good = ctx && EVP_DigestVerifyInit_ex(ctx, NULL, alg->digest, NULL, NULL, key->pkey, NULL) == 1 &&
	          EVP_DigestVerify(ctx, der ? der : bytes, size, (const unsigned char *)signed_part.ptr, signed_part.len) == 1;
	EVP_MD_CTX_free(ctx);
	OPENSSL_free(der);
	ERR_clear_error();
	return is_good;
}

/* Which algorithm the header names, if it is one of ours and the header has nothing that we would have to understand. */
static const struct algorithm *read_header(struct str part, struct arena *a, const char **ret_name)
{
	struct buf text = BUF_INIT(TOKEN_MAX);
	json_t *header = decode_part(part, &text) ? NULL : claims_parse(buf_str(&text));
	const struct algorithm *found = find_algorithm(json_string_value(json_object_get(header, "alg")));
	const char *name = json_string_value(json_object_get(header, "kid"));

	if (json_object_get(header, "crit") || json_object_get(header, "zip") || json_object_get(header, "enc"))
		found = NULL;
	*ret_name = name ? arena_cstr(a, str_of(name)) : NULL;
	json_decref(header);
	buf_done(&text);
	return found;
}

static bool split(struct str token, struct str *ret_header, struct str *ret_payload, struct str *ret_signature)
{
	struct str rest;

	return token.len <= TOKEN_MAX && str_split(token, '.', ret_header, &rest) &&
	       str_split(rest, '.', ret_payload, ret_signature) && !str_has(*ret_signature, '.') && ret_header->len &&
	       ret_payload->len && ret_signature->len;
}

bool jwt_has_form(struct str token)
{
	struct str a, b, c;

	return split(token, &a, &b, &c);
}

/* Two that have names go together only if they have the same. */
static bool is_meant(const struct key *key, const struct algorithm *alg, const char *name)
{
	return key->kind == alg->kind && (!key->alg || key->alg == alg) && (!name || !key->name || strcmp(name, key->name) == 0);
}

static bool is_signed_by_one(const struct jwt_keys *keys, const struct algorithm *alg, const char *name, struct str signed_part,
                             struct str signature)
{
	for (size_t i = 0; i < keys->count; i++)
		if (is_meant(&keys->items[i], alg, name) && is_signed(&keys->items[i], alg, signed_part, signature))
			return true;
	return false;
}

int jwt_check(struct str token, const struct jwt_keys *keys, const struct claim_rules *rules, struct arena *a,
              struct str *ret_username, const char **why)
{
	struct str header, payload, signature;
	struct buf bytes = BUF_INIT(TOKEN_MAX), claims_text = BUF_INIT(TOKEN_MAX);
	const struct algorithm *alg;
	const char *name;
	json_t *claims = NULL;
	int err = -EACCES;

	*why = "the token is no JWT";
	if (split(token, &header, &payload, &signature)) {
		alg = read_header(header, a, &name);
		if (!alg)
			*why = "the token's algorithm is none of ours";
		else if (decode_part(signature, &bytes) ||
		         !is_signed_by_one(keys, alg, name, str_cut(token, 0, header.len + 1 + payload.len), buf_str(&bytes)))
			*why = "none of the keys has signed the token";
		else if (decode_part(payload, &claims_text) || !(claims = claims_parse(buf_str(&claims_text))))
			*why = "the token's claims are no JSON";
		else
			err = claims_check(claims, rules, a, ret_username, why);
	}
	json_decref(claims);
	buf_done(&bytes);
	buf_done(&claims_text);
	return err;
}
