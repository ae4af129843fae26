/* SPDX-License-Identifier: Apache-2.0 */
/* Kept sessions by key. */
#include "net/tls_sessions.h"

#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include "base/base.h"
#include "base/map.h"

enum { KEPT_MAX = 1000 };

struct kept {
	SSL_SESSION *session;
	struct instant until;
};

/* What a connection remembers to file its sessions by. */
struct label {
	char *key;
	struct duration hold;
};

static struct map sessions;

static void kept_free(struct kept *k)
{
	if (k)
		SSL_SESSION_free(k->session);
	free(k);
}

void tls_sessions_forget(void)
{
	size_t at = 0;
	struct str key;
	void *k;

	while (map_next(&sessions, &at, &key, &k))
		kept_free(k);
	map_done(&sessions);
	sessions = MAP_INIT;
}

static void label_free(void *parent, void *ptr, CRYPTO_EX_DATA *data, int index, long number, void *arg)
{
	struct label *l = ptr;

	if (l)
		free(l->key);
	free(l);
}

static int label_index(void)
{
	static int index = -1;

	if (index < 0)
		index = SSL_get_ex_new_index(0, NULL, NULL, NULL, label_free);
	return index;
}

/* In TLS 1.3 each one serves once (RFC 8446, C.4); the next connection brings another. */
static int keep(SSL *ssl, SSL_SESSION *session)
{
	struct label *l = SSL_get_ex_data(ssl, label_index());
	struct kept *k;

	if (!l || !SSL_SESSION_is_resumable(session))
		return 0;
	if (map_count(&sessions) >= KEPT_MAX)
		tls_sessions_forget();
	k = mem_alloc(sizeof(*k));
	*k = (struct kept){.session = session, .until = clock_deadline(l->hold)};
	kept_free(map_set(&sessions, str_of(l->key), k));
	return 1;
}

void tls_sessions_enable(SSL_CTX *ctx)
{
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, keep);
}

void tls_sessions_attach(SSL *ssl, struct str key, struct duration hold)
{
	struct label *l = mem_alloc(sizeof(*l));
	struct kept *k = map_remove(&sessions, key);

	*l = (struct label){.key = str_cstr(key), .hold = hold};
	if (!SSL_set_ex_data(ssl, label_index(), l))
		label_free(NULL, l, NULL, 0, 0, NULL);
	if (k && instant_is_before(clock_now(), k->until))
		(void)SSL_set_session(ssl, k->session);
	kept_free(k);
}

void tls_sessions_verify_again(SSL *ssl)
{
	X509_STORE_CTX *check = X509_STORE_CTX_new();
	X509_STORE *store = NULL;
	long result = X509_V_ERR_UNSPECIFIED;

	if (!SSL_get0_verify_cert_store(ssl, &store) || !store)
		store = SSL_CTX_get_cert_store(SSL_get_SSL_CTX(ssl));
	if (check && X509_STORE_CTX_init(check, store, SSL_get0_peer_certificate(ssl), SSL_get_peer_cert_chain(ssl)) &&
	    X509_STORE_CTX_set_default(check, "ssl_server") &&
	    X509_VERIFY_PARAM_set1(X509_STORE_CTX_get0_param(check), SSL_get0_param(ssl))) {
		/* Trust anchors that are public keys. */
		X509_STORE_CTX_set0_dane(check, SSL_get0_dane(ssl));
		result = X509_verify_cert(check) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(check);
	}
	X509_STORE_CTX_free(check);
	SSL_set_verify_result(ssl, result);
}
