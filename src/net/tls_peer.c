/* SPDX-License-Identifier: Apache-2.0 */
/* Who the server is, by its certificate: names and fingerprints. */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "net/net_internal.h"

enum { FINGERPRINT_TEXT_SIZE = 3 * EVP_MAX_MD_SIZE + 1 };

static X509 *peer_certificate(const struct stream *s)
{
	return stream_tls(s) ? SSL_get0_peer_certificate(s->tls->ssl) : NULL;
}

bool tls_peer_has_name(const struct stream *s, struct str name, bool is_wildcard_deep)
{
	X509 *x = peer_certificate(s);
	unsigned flags = X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | (is_wildcard_deep ? X509_CHECK_FLAG_MULTI_LABEL_WILDCARDS : 0);

	/* To OpenSSL no length means: count it yourself. */
	return x && name.len && !str_eq(name, STR(".")) && X509_check_host(x, name.ptr, name.len, flags, NULL) == 1;
}

static const EVP_MD *digest_find(struct str name)
{
	char *text = str_cstr(name);
	const EVP_MD *md = EVP_get_digestbyname(text);

	free(text);
	return md;
}

int tls_digest_check(struct str name)
{
	return digest_find(name) ? 0 : -EINVAL;
}

static struct str fingerprint_text(const unsigned char *bytes, unsigned count, char text[FINGERPRINT_TEXT_SIZE])
{
	for (unsigned i = 0; i < count; i++)
		snprintf(text + 3UL * i, 4, "%02X:", bytes[i]);
	return str_n(text, count ? 3UL * count - 1 : 0);
}

bool tls_peer_has_fingerprint(const struct stream *s, struct str digest, struct str fingerprint)
{
	X509 *x = peer_certificate(s);
	const EVP_MD *md = digest_find(digest);
	unsigned char bytes[EVP_MAX_MD_SIZE], *key = NULL;
	char text[FINGERPRINT_TEXT_SIZE];
	unsigned count;
	bool has = false;
	int key_size;

	if (!x || !md || !fingerprint.len)
		return false;
	if (X509_digest(x, md, bytes, &count))
		has = str_eq_nocase(fingerprint_text(bytes, count, text), fingerprint);
	key_size = has ? 0 : i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &key);
	if (key_size > 0 && EVP_Digest(key, (size_t)key_size, bytes, &count, md, NULL))
		has = str_eq_nocase(fingerprint_text(bytes, count, text), fingerprint);
	OPENSSL_free(key);
	return has;
}
