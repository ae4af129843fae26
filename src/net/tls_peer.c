/* SPDX-License-Identifier: Apache-2.0 */
/* Who the other side is, by its certificate: names and fingerprints. */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "net/net_internal.h"

enum { FINGERPRINT_TEXT_SIZE = 3 * EVP_MAX_MD_SIZE + 1, EXPORTER_SIZE = 32 };

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

static bool fingerprint_bytes(const X509 *x, const EVP_MD *md, bool is_of_key, unsigned char *bytes, unsigned *ret_count)
{
	unsigned char *key = NULL;
	bool is_made;
	int size;

	if (!is_of_key)
		return X509_digest(x, md, bytes, ret_count);
	size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &key);
	is_made = size > 0 && EVP_Digest(key, (size_t)size, bytes, ret_count, md, NULL);
	OPENSSL_free(key);
	return is_made;
}

void tls_peer_fingerprint(struct buf *to, const struct stream *s, struct str digest, bool is_of_key)
{
	const X509 *x = peer_certificate(s);
	const EVP_MD *md = digest_find(digest);
	unsigned char bytes[EVP_MAX_MD_SIZE];
	unsigned count;

	if (!x || !md || !fingerprint_bytes(x, md, is_of_key, bytes, &count))
		return;
	for (unsigned i = 0; i < count; i++)
		buf_addf(to, "%s%02X", i ? ":" : "", bytes[i]);
}

bool tls_peer_has_fingerprint(const struct stream *s, struct str digest, struct str fingerprint)
{
	struct buf of_certificate = BUF_INIT(FINGERPRINT_TEXT_SIZE), of_key = BUF_INIT(FINGERPRINT_TEXT_SIZE);
	bool has;

	tls_peer_fingerprint(&of_certificate, s, digest, false);
	tls_peer_fingerprint(&of_key, s, digest, true);
	has = fingerprint.len &&
	      (str_eq_nocase(buf_str(&of_certificate), fingerprint) || str_eq_nocase(buf_str(&of_key), fingerprint));
	buf_done(&of_certificate);
	buf_done(&of_key);
	return has;
}

/* The first Finished message of the handshake: the client's, or the server's where a session was resumed. */
static size_t first_finished(const SSL *ssl, unsigned char *bytes, size_t size)
{
	bool is_own = SSL_is_server(ssl) == SSL_session_reused(ssl);

	return is_own ? SSL_get_finished(ssl, bytes, size) : SSL_get_peer_finished(ssl, bytes, size);
}

int tls_channel_binding(const struct stream *s, struct buf *to, bool *ret_is_exporter)
{
	static const char label[] = "EXPORTER-Channel-Binding";
	unsigned char bytes[EVP_MAX_MD_SIZE];
	size_t size = EXPORTER_SIZE;
	SSL *ssl = stream_tls(s) ? s->tls->ssl : NULL;
	bool is_exporter = ssl && SSL_version(ssl) >= TLS1_3_VERSION;

	if (!ssl)
		return -ENOTSUP;
	if (is_exporter && SSL_export_keying_material(ssl, bytes, size, label, sizeof(label) - 1, NULL, 0, 1) != 1)
		return -ENOTSUP;
	/* Without the extended master secret someone in the middle can have the same one on both sides (RFC 7627). */
	if (!is_exporter && SSL_get_extms_support((SSL *)ssl) != 1)
		return -ENOTSUP;
	if (!is_exporter)
		size = first_finished(ssl, bytes, sizeof(bytes));
	*ret_is_exporter = is_exporter;
	buf_add_bytes(to, bytes, size_min(size, sizeof(bytes)));
	return buf_check(to);
}
