/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_tickets.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include "base/base.h"
#include "base/random.h"
#include "net/net_internal.h"

struct ticket_key {
	unsigned char name[TLS_TICKET_NAME_SIZE];
	unsigned char secret[TLS_TICKET_SECRET_SIZE];
	unsigned char mac[TLS_TICKET_SECRET_SIZE];
};

_Static_assert(sizeof(struct ticket_key) == TLS_TICKET_KEY_SIZE, "keys are copied as they come");

static struct {
	struct ticket_key all[TLS_TICKET_KEYS_MAX];
	size_t count;
} keys;

int tls_tickets_set(struct str bytes)
{
	size_t count = bytes.len / TLS_TICKET_KEY_SIZE;

	if (!count || count > TLS_TICKET_KEYS_MAX || bytes.len % TLS_TICKET_KEY_SIZE)
		return -EINVAL;
	memcpy(keys.all, bytes.ptr, bytes.len);
	keys.count = count;
	return 0;
}

static size_t key_find(const unsigned char *name)
{
	size_t at = 0;

	while (at < keys.count && memcmp(keys.all[at].name, name, TLS_TICKET_NAME_SIZE) != 0)
		at++;
	return at;
}

static int cipher_index(void)
{
	static int index = -1;

	if (index < 0)
		index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
	return index;
}

static bool mac_begin(EVP_MAC_CTX *mac, struct ticket_key *key)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof(key->mac)),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* OpenSSL's terms: -1 an error, 0 no ticket or one that nobody knows, 1 good, 2 good and to be replaced. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher_ctx, EVP_MAC_CTX *mac, int is_new)
{
	const EVP_CIPHER *cipher = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), cipher_index());
	size_t at = is_new ? 0 : key_find(name);
	struct ticket_key *key = &keys.all[at];

	if (at >= keys.count || !cipher)
		return 0;
	tls_log_ticket(ssl, is_new);
	if (is_new) {
		memcpy(name, key->name, sizeof(key->name));
		if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(cipher)) != 1)
			return -1;
	}
	if (EVP_CipherInit_ex(cipher_ctx, cipher, NULL, key->secret, iv, is_new) != 1 || !mac_begin(mac, key))
		return -1;
	/* Who resumes gets a fresh ticket, so that it can resume again, each ticket being good for once. */
	return !is_new && (at > 0 || SSL_version(ssl) >= TLS1_3_VERSION) ? 2 : 1;
}

int tls_tickets_use(SSL_CTX *ctx, struct str name)
{
	char *text = str_cstr(name);
	const EVP_CIPHER *cipher = EVP_get_cipherbyname(text);

	free(text);
	if (!cipher || EVP_CIPHER_get_key_length(cipher) > TLS_TICKET_SECRET_SIZE ||
	    EVP_CIPHER_get_flags(cipher) & EVP_CIPH_FLAG_AEAD_CIPHER)
		return -EINVAL;
	if (!keys.count) {
		random_bytes(&keys.all[0], sizeof(keys.all[0]));
		keys.count = 1;
	}
	SSL_CTX_set_ex_data(ctx, cipher_index(), (void *)cipher);
	return SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket) == 1 ? 0 : -EINVAL;
}
