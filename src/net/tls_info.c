/* SPDX-License-Identifier: Apache-2.0 */
/* What a handshake agreed on, read off OpenSSL and put into words. */
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "net/net_internal.h"

enum { TEXT_MAX = 4096, NAME_MAX_BYTES = 256 };

/* Strings are gathered in one buffer; `places` remember where, because the buffer moves while it grows. */
struct gatherer {
	struct buf text;
	struct str *places[16];
	size_t starts[16];
	size_t count;
};

static void gather(struct gatherer *g, struct str *place, struct str value)
{
	if (!value.len || g->count == COUNT_OF(g->places))
		return;
	if (g->text.len + value.len > TEXT_MAX)
		return;
	g->places[g->count] = place;
	g->starts[g->count++] = g->text.len;
	buf_add(&g->text, value);
	*place = value;
}

static char *gather_end(struct gatherer *g)
{
	char *text = buf_take(&g->text);

	for (size_t i = 0; i < g->count; i++)
		g->places[i]->ptr = text + g->starts[i];
	return text;
}

/* "ECDHE (P-256)", "X25519", "DHE (2048 bits)". */
static void gather_key_exchange(struct gatherer *g, SSL *ssl, struct str *place)
{
	EVP_PKEY *key = NULL;
	char group[64] = "", text[96];
	const char *nist;

	/* The ephemeral key of either side tells the group. */
	if (!SSL_get_peer_tmp_key(ssl, &key) && !SSL_get_tmp_key(ssl, &key))
		return;
	if (EVP_PKEY_is_a(key, "EC")) {
		EVP_PKEY_get_group_name(key, group, sizeof(group), NULL);
		nist = EC_curve_nid2nist(OBJ_sn2nid(group));
		snprintf(text, sizeof(text), "ECDHE (%s)", nist ? nist : group);
	} else if (EVP_PKEY_is_a(key, "DH")) {
		snprintf(text, sizeof(text), "DHE (%d bits)", EVP_PKEY_get_bits(key));
	} else {
		snprintf(text, sizeof(text), "%s", EVP_PKEY_get0_type_name(key));
	}
	EVP_PKEY_free(key);
	gather(g, place, str_of(text));
}

/* "ECDSA (prime256v1)", "RSA-PSS (2048 bits)", "Ed25519", from the key and how it signed. */
static void gather_signature(struct gatherer *g, const EVP_PKEY *key, int type_nid, struct str *place)
{
	char group[64] = "", text[96];

	if (!key)
		return;
	if (EVP_PKEY_is_a(key, "EC")) {
		EVP_PKEY_get_group_name(key, group, sizeof(group), NULL);
		snprintf(text, sizeof(text), "ECDSA (%s)", group);
	} else if (EVP_PKEY_is_a(key, "RSA") || EVP_PKEY_is_a(key, "RSA-PSS")) {
		snprintf(text, sizeof(text), "%s (%d bits)", type_nid == EVP_PKEY_RSA_PSS ? "RSA-PSS" : "RSA",
		         EVP_PKEY_get_bits(key));
	} else {
		snprintf(text, sizeof(text), "%s", EVP_PKEY_get0_type_name(key));
	}
	gather(g, place, str_of(text));
}

static void gather_digest(struct gatherer *g, int nid, struct str *place)
{
	if (nid != NID_undef)
		gather(g, place, str_of(OBJ_nid2sn(nid)));
}

static void gather_name(struct gatherer *g, X509_NAME *name, struct str *place)
{
	int at = name ? X509_NAME_get_index_by_NID(name, NID_commonName, -1) : -1;
	unsigned char *text;
	int len = at < 0 ? -1 : ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));

	if (len < 0)
		return;
	/* It goes to logs and headers, and a stranger wrote it. */
	for (int i = 0; i < len; i++)
		if (text[i] < ' ' || text[i] == 127 || strchr("\"\\()", text[i]))
			text[i] = '?';
	if (len <= NAME_MAX_BYTES)
		gather(g, place, str_n((char *)text, (size_t)len));
	OPENSSL_free(text);
}

static void gather_signatures(struct gatherer *g, SSL *ssl, bool is_server, const X509 *peer, struct tls_info *info)
{
	const X509 *own = SSL_get_certificate(ssl);
	int nid;

	if (SSL_get_signature_type_nid(ssl, &nid) && own) {
		gather_signature(g, X509_get0_pubkey(own), nid, is_server ? &info->server_signature : &info->client_signature);
		if (SSL_get_signature_nid(ssl, &nid))
			gather_digest(g, nid, is_server ? &info->server_digest : &info->client_digest);
	}
	if (peer && SSL_get_peer_signature_type_nid(ssl, &nid)) {
		gather_signature(g, X509_get0_pubkey(peer), nid, is_server ? &info->client_signature : &info->server_signature);
		if (SSL_get_peer_signature_nid(ssl, &nid))
			gather_digest(g, nid, is_server ? &info->client_digest : &info->server_digest);
	}
}

/* A client's resumed session remembers what was found when it began, and certificates expire. A server may stand for an expired
 * one by DANE. */
static void read_trust(SSL *ssl, X509 *peer, bool is_server, struct tls_info *info)
{
	long result = SSL_get_verify_result(ssl);

	if (!peer)
		return;
	if (is_server && result == X509_V_OK && X509_cmp_current_time(X509_get0_notAfter(peer)) < 0)
		result = X509_V_ERR_CERT_HAS_EXPIRED;
	info->is_peer_trusted = result == X509_V_OK;
	if (info->is_peer_trusted)
		return;
	info->distrust = str_of(X509_verify_cert_error_string(result));
	info->is_peer_expired = result == X509_V_ERR_CERT_HAS_EXPIRED || result == X509_V_ERR_CERT_NOT_YET_VALID;
	info->is_peer_misnamed = result == X509_V_ERR_HOSTNAME_MISMATCH;
	info->is_issuer_unknown = result == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT ||
	                          result == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
	                          result == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE;
}

char *tls_info_read(SSL *ssl, bool is_server, struct tls_info *info)
{
	struct gatherer g = {.text = BUF_INIT(TEXT_MAX)};
	const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);
	X509 *peer = SSL_get0_peer_certificate(ssl);

	*info = (struct tls_info){.is_resumed = SSL_session_reused(ssl)};
	info->protocol = str_of(SSL_get_version(ssl));
	info->cipher = str_of(SSL_CIPHER_get_name(cipher));
	info->cipher_bits = SSL_CIPHER_get_bits(cipher, &info->algorithm_bits);
	info->has_peer_certificate = peer != NULL;
	read_trust(ssl, peer, is_server, info);
	/* Before 1.3 the name of the cipher says all this. */
	if (SSL_version(ssl) >= TLS1_3_VERSION) {
		gather_key_exchange(&g, ssl, &info->key_exchange);
		if (!info->is_resumed)
			gather_signatures(&g, ssl, is_server, peer, info);
	}
	/* What a client wishes is only told where it could choose. */
	if (!is_server || ((struct stream_tls *)SSL_get_app_data(ssl))->sni_fate == TLS_SNI_MATCHED)
		gather(&g, &info->sni, str_of(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)));
	if (peer) {
		gather_name(&g, X509_get_subject_name(peer), &info->peer_cn);
		gather_name(&g, X509_get_issuer_name(peer), &info->peer_issuer_cn);
	}
	return gather_end(&g);
}

static void add_part(struct buf *to, const char *label, struct str value)
{
	if (value.len)
		buf_addf(to, " %s %.*s", label, STR_ARG(value));
}

void tls_info_summary(struct buf *to, const struct tls_info *info)
{
	buf_addf(to, "%.*s with cipher %.*s (%d/%d bits)", STR_ARG(info->protocol), STR_ARG(info->cipher), info->cipher_bits,
	         info->algorithm_bits);
	add_part(to, "key-exchange", info->key_exchange);
	add_part(to, "server-signature", info->server_signature);
	add_part(to, "server-digest", info->server_digest);
	add_part(to, "client-signature", info->client_signature);
	add_part(to, "client-digest", info->client_digest);
}
