/* SPDX-License-Identifier: Apache-2.0 */
#include "sasl/jwk.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <string.h>

#include "base/encoding.h"

enum { NUMBER_MAX = 2048, COORDINATE_MAX = 48, ED25519_SIZE = 32, SLACK = 4 };

static struct str member(const json_t *jwk, const char *name)
{
	return str_of(json_string_value(json_object_get(jwk, name)));
}

/* A member's bytes; -EINVAL when there are none. */
static int read_bytes(const json_t *jwk, const char *name, struct buf *to)
{
	struct str text = member(jwk, name);
	size_t before = to->len;
	int err = base64url_decode(to, text);

	return err || buf_check(to) || to->len == before ? -EINVAL : 0;
}

static EVP_PKEY *make(const char *type, OSSL_PARAM *params)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *pkey = NULL;

	if (ctx && EVP_PKEY_fromdata_init(ctx) == 1)
		(void)EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params);
	EVP_PKEY_CTX_free(ctx);
	return pkey;
}

static EVP_PKEY *make_rsa(const struct buf *modulus, const struct buf *exponent)
{
	BIGNUM *n = BN_bin2bn((const unsigned char *)modulus->ptr, (int)modulus->len, NULL);
	BIGNUM *e = BN_bin2bn((const unsigned char *)exponent->ptr, (int)exponent->len, NULL);
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	OSSL_PARAM *params = NULL;
	EVP_PKEY *pkey = NULL;

	if (n && e && build && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) &&
	    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e))
		params = OSSL_PARAM_BLD_to_param(build);
	if (params)
		pkey = make("RSA", params);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(build);
	BN_free(n);
	BN_free(e);
	return pkey;
}

static int read_rsa(const json_t *jwk, EVP_PKEY **ret_pkey, const char **why)
{
	struct buf modulus = BUF_INIT(NUMBER_MAX), exponent = BUF_INIT(NUMBER_MAX);
	int err = read_bytes(jwk, "n", &modulus);

	*why = "\"n\" and \"e\" are no RSA key";
	if (!err)
		err = read_bytes(jwk, "e", &exponent);
	if (!err)
		*ret_pkey = make_rsa(&modulus, &exponent);
	buf_done(&modulus);
	buf_done(&exponent);
	return !err && *ret_pkey ? 0 : -EINVAL;
}

static int read_ec(const json_t *jwk, EVP_PKEY **ret_pkey, const char **why)
{
	static const struct {
		const char *curve, *group;
		size_t size;
	} curves[] = {{"P-256", "prime256v1", 32}, {"P-384", "secp384r1", COORDINATE_MAX}};
	struct buf point = BUF_INIT(1 + 2 * COORDINATE_MAX + SLACK);
	size_t at = 0;

	while (at < COUNT_OF(curves) && !str_eq(member(jwk, "crv"), str_of(curves[at].curve)))
		at++;
	if (at == COUNT_OF(curves))
		return -ENOTSUP;
	*why = "\"x\" and \"y\" are no point of its curve";
	/* Uncompressed; each number has its full length (RFC 7518, 6.2.1.2). */
	buf_add_char(&point, 4);
	if (!read_bytes(jwk, "x", &point) && point.len == 1 + curves[at].size && !read_bytes(jwk, "y", &point) &&
	    point.len == 1 + 2 * curves[at].size) {
		OSSL_PARAM params[] = {
			OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)(uintptr_t)curves[at].group, 0),
			OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point.ptr, point.len),
			OSSL_PARAM_construct_end(),
		};

		*ret_pkey = make("EC", params);
	}
	buf_done(&point);
	return *ret_pkey ? 0 : -EINVAL;
}

static int read_ed25519(const json_t *jwk, EVP_PKEY **ret_pkey, const char **why)
{
	struct buf bytes = BUF_INIT(ED25519_SIZE + SLACK);

	if (!str_eq(member(jwk, "crv"), STR("Ed25519")))
		return -ENOTSUP;
	*why = "\"x\" is no key of Ed25519";
	if (!read_bytes(jwk, "x", &bytes) && bytes.len == ED25519_SIZE)
		*ret_pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, (const unsigned char *)bytes.ptr, bytes.len);
	buf_done(&bytes);
	return *ret_pkey ? 0 : -EINVAL;
}

int jwk_read(const json_t *jwk, EVP_PKEY **ret_pkey, struct buf *secret, const char **why)
{
	struct str type = member(jwk, "kty"), use = member(jwk, "use");

	*ret_pkey = NULL;
	*why = "it has no \"kty\"";
	if (!type.len)
		return -EINVAL;
	if (use.len && !str_eq(use, STR("sig")))
		return -ENOTSUP;
	if (str_eq(type, STR("RSA")))
		return read_rsa(jwk, ret_pkey, why);
	if (str_eq(type, STR("EC")))
		return read_ec(jwk, ret_pkey, why);
	if (str_eq(type, STR("OKP")))
		return read_ed25519(jwk, ret_pkey, why);
	if (!str_eq(type, STR("oct")))
		return -ENOTSUP;
	*why = "\"k\" is no secret";
	return read_bytes(jwk, "k", secret);
}
