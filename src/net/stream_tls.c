/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS inside a stream. OpenSSL reads and writes through a BIO of ours, so that the stream's
 * knowledge of an emptied socket spares system calls here as well.
 */
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "net/net_internal.h"
#include "net/tls_keys.h"
#include "net/tls_sessions.h"
#include "net/tlsa.h"

static int bio_read(BIO *bio, char *ptr, size_t size, size_t *ret_count)
{
	struct stream *s = BIO_get_data(bio);
	ssize_t n = stream_recv_raw(s, ptr, size);

	if (s->tls->log)
		tls_log_bytes(s->tls, false, ptr, size, n);

	BIO_clear_retry_flags(bio);
	if (n > 0) {
		*ret_count = (size_t)n;
		return 1;
	}
	*ret_count = 0;
	if (n == -EAGAIN)
		BIO_set_retry_read(bio);
	else if (n == 0)
		BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
	else
		errno = (int)-n;
	return n == 0 ? 0 : -1;
}

static int bio_write(BIO *bio, const char *ptr, size_t size, size_t *ret_count)
{
	struct stream *s = BIO_get_data(bio);
	ssize_t n = stream_send_raw(s, ptr, size);

	if (s->tls->log)
		tls_log_bytes(s->tls, true, ptr, size, n);

	BIO_clear_retry_flags(bio);
	*ret_count = n > 0 ? (size_t)n : 0;
	if (n >= 0)
		return 1;
	if (n == -EAGAIN)
		BIO_set_retry_write(bio);
	else
		errno = (int)-n;
	return -1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *ptr)
{
	switch (command) {
	case BIO_CTRL_FLUSH:
		return 1;
	case BIO_CTRL_EOF:
		return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
	default:
		return 0;
	}
}

static BIO_METHOD *bio_method(void)
{
	static BIO_METHOD *method;

	if (method)
		return method;
	method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
	if (!method || !BIO_meth_set_read_ex(method, bio_read) || !BIO_meth_set_write_ex(method, bio_write) ||
	    !BIO_meth_set_ctrl(method, bio_ctrl))
		die("out of memory for TLS");
	return method;
}

static int tls_begin(struct stream *s, struct tls_context *ctx)
{
	SSL *ssl = SSL_new(tls_context_ssl(ctx));
	BIO *bio = BIO_new(bio_method());

	if (!ssl || !bio) {
		SSL_free(ssl);
		BIO_free(bio);
		return -ENOMEM;
	}
	BIO_set_data(bio, s);
	BIO_set_init(bio, 1);
	SSL_set_bio(ssl, bio, bio);
	s->tls = mem_alloc(sizeof(*s->tls));
	s->tls->ssl = ssl;
	/* For callbacks. */
	SSL_set_app_data(ssl, s->tls);
	s->tls->log = s->tls_log;
	return 0;
}

/* What a failed call means: -EAGAIN and for what to wait, -EPIPE at the end, or another errno. */
static int tls_error(struct stream *s, int result, enum watch_for *ret_wait)
{
	int saved_errno = errno;

	switch (SSL_get_error(s->tls->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		*ret_wait = WATCH_READ;
		return -EAGAIN;
	case SSL_ERROR_WANT_WRITE:
		*ret_wait = WATCH_WRITE;
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return -EPIPE;
	case SSL_ERROR_SYSCALL:
		return saved_errno ? -saved_errno : -EPIPE;
	default:
		return -EPROTO;
	}
}

static void explain_failure(struct stream *s, const char **why)
{
	unsigned long code = ERR_get_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;
	long verified = SSL_get_verify_result(s->tls->ssl);

	*why = s->tls->why;
	if (s->tls->sni_fate == TLS_SNI_BROKEN)
		return;
	snprintf(s->tls->why, sizeof(s->tls->why), "%s%s%s", reason ? reason : "TLS protocol error",
	         verified != X509_V_OK ? ": " : "", verified != X509_V_OK ? X509_verify_cert_error_string(verified) : "");
}

static const char *loss_text(int err)
{
	return err == -ETIMEDOUT ? "the TLS handshake took too long" : "the peer broke off the TLS handshake";
}

static int handshake(struct stream *s, bool is_server, const char **why)
{
	enum watch_for what = WATCH_READ;
	int err;

	tls_log_begin(s->tls->ssl, is_server);
	for (;;) {
		ERR_clear_error();
		errno = 0;

		int result = is_server ? SSL_accept(s->tls->ssl) : SSL_connect(s->tls->ssl);

		if (result == 1)
			break;
		err = tls_error(s, result, &what);
		if (err == -EAGAIN)
			err = stream_wait_for(s, what);
		if (!err)
			continue;
		*why = loss_text(err);
		if (err == -EPROTO)
			explain_failure(s, why);
		return err;
	}
	ERR_clear_error();
	s->tls->is_up = true;
	if (!is_server && SSL_session_reused(s->tls->ssl))
		tls_sessions_verify_again(s->tls->ssl);
	s->tls->text = tls_info_read(s->tls->ssl, is_server, &s->tls->info);
	return 0;
}

int stream_start_tls_server(struct stream *s, struct tls_context *ctx, const char **why)
{
	int err = stream_flush(s);

	*why = err ? loss_text(err) : "out of memory";
	/* What came in clear must never be read as if it had come inside TLS. */
	s->in_at = s->in_end = 0;
	if (!err)
		err = tls_begin(s, ctx);
	return err ? err : handshake(s, true, why);
}

/* In place of the context's authorities. */
static int apply_anchors(struct stream_tls *t, struct str files, const char **why)
{
	struct tls_anchors *anchors = NULL;
	struct buf reason = BUF_INIT(1000);
	X509_STORE *store = X509_STORE_new();
	int err = tls_anchors_read(NULL, files, &anchors, &reason);

	buf_done(&reason);
	*why = "cannot read a file of trust anchors";
	if (!err)
		err = store ? tls_anchors_add_to(anchors, store) : -ENOMEM;
	if (!err && !SSL_set1_verify_cert_store(t->ssl, store))
		err = -ENOMEM;
	t->is_by_records = !err && tls_anchors_have_keys(anchors);
	if (t->is_by_records)
		err = tls_anchors_use_for(anchors, t->ssl);
	X509_STORE_free(store);
	tls_anchors_free(anchors);
	return err;
}

static int add_names(SSL *ssl, struct str names)
{
	struct str name;

	while (str_next(&names, " ", &name)) {
		char *text = str_cstr(name);
		int is_good = SSL_add1_host(ssl, text);

		free(text);
		if (!is_good)
			return -EINVAL;
	}
	return 0;
}

/* RFC 7671: from here on OpenSSL trusts what the records say, and nothing else. */
static int apply_tlsa(SSL *ssl, const struct tls_wish *wish, const char **why)
{
	char *base = str_cstr(wish->tlsa_base);
	size_t added = 0;
	int err = 0;

	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
	                               (wish->is_wildcard_deep ? X509_CHECK_FLAG_MULTI_LABEL_WILDCARDS : 0));
	if (SSL_dane_enable(ssl, base) <= 0 || add_names(ssl, wish->names))
		err = -EINVAL;
	/* The owner of the name says whose key it is: what the certificate says beside it does not matter (RFC 7672, 3.1.1). */
	SSL_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
	for (size_t i = 0; !err && i < wish->tlsa_count; i++) {
		const struct tlsa *r = &wish->tlsa[i];

		added += SSL_dane_tlsa_add(ssl, r->usage, r->selector, r->matching, (const unsigned char *)r->data.ptr,
		                           r->data.len) > 0;
	}
	free(base);
	if (!err && added)
		return 0;
	*why = "OpenSSL takes none of the TLSA records";
	return -EINVAL;
}

static int apply_wish(struct stream_tls *t, const struct tls_wish *wish, const char **why)
{
	SSL *ssl = t->ssl;
	char *name = str_cstr(wish->servername), *ciphers = str_cstr(wish->ciphers);
	int err = 0;

	if (wish->servername.len && !SSL_set_tlsext_host_name(ssl, name)) {
		*why = "bad server name";
		err = -EINVAL;
	} else if (wish->ciphers.len && !SSL_set_cipher_list(ssl, ciphers)) {
		*why = "OpenSSL finds no cipher in the list";
		err = -EINVAL;
	} else if (wish->has_versions) {
		SSL_clear_options(ssl, SSL_OP_NO_SSL_MASK);
		SSL_set_options(ssl, wish->versions_off);
	}
	free(name);
	free(ciphers);
	return err;
}

/* Whom to trust, where it is not the context's authorities. */
static int apply_trust(struct stream *s, const struct tls_context *ctx, const struct tls_wish *wish, const char **why)
{
	const struct tls_anchors *anchors = tls_context_anchors(ctx);

	s->tls->is_by_records = wish->tlsa_count || anchors;
	if (wish->tlsa_count)
		return apply_tlsa(s->tls->ssl, wish, why);
	if (wish->anchor_files.len)
		return apply_anchors(s->tls, wish->anchor_files, why);
	return anchors ? tls_anchors_use_for(anchors, s->tls->ssl) : 0;
}

int stream_start_tls_client(struct stream *s, struct tls_context *ctx, const struct tls_wish *wish, const char **why)
{
	int err = stream_flush(s);

	*why = err ? loss_text(err) : "out of memory";
	s->in_at = s->in_end = 0;
	if (!err)
		err = tls_begin(s, ctx);
	if (!err)
		err = apply_wish(s->tls, wish, why);
	if (!err)
		err = apply_trust(s, ctx, wish, why);
	if (!err && wish->session_key.len && wish->session_time.ns > 0)
		tls_sessions_attach(s->tls->ssl, wish->session_key, wish->session_time);
	if (!err)
		err = handshake(s, false, why);
	/* A session that goes on was matched when it began. */
	if (!err && s->tls->is_by_records && !s->tls->info.is_resumed && SSL_get0_dane_authority(s->tls->ssl, NULL, NULL) < 0)
		s->tls->info.is_peer_trusted = false;
	return err;
}

void stream_set_tls_log(struct stream *s, const struct tls_log *log)
{
	s->tls_log = log;
}

enum tls_sni_fate stream_tls_sni(const struct stream *s, struct str *ret_name)
{
	*ret_name = STR("");
	if (!s->tls)
		return TLS_SNI_NONE;
	*ret_name = str_of(SSL_get_servername(s->tls->ssl, TLSEXT_NAMETYPE_host_name));
	return s->tls->sni_fate;
}

const struct tls_info *stream_tls(const struct stream *s)
{
	return s->tls && s->tls->is_up ? &s->tls->info : NULL;
}

ssize_t stream_tls_recv(struct stream *s, void *ptr, size_t size, enum watch_for *ret_wait)
{
	size_t count;

	ERR_clear_error();
	errno = 0;

	int result = SSL_read_ex(s->tls->ssl, ptr, size, &count);

	if (result == 1)
		return (ssize_t)count;

	int err = tls_error(s, result, ret_wait);

	return err == -EPIPE ? 0 : err;
}

ssize_t stream_tls_send(struct stream *s, const void *ptr, size_t size, enum watch_for *ret_wait)
{
	size_t count;

	ERR_clear_error();
	errno = 0;

	int result = SSL_write_ex(s->tls->ssl, ptr, size, &count);

	return result == 1 ? (ssize_t)count : tls_error(s, result, ret_wait);
}

bool stream_tls_has_input(const struct stream *s)
{
	return SSL_has_pending(s->tls->ssl);
}

void stream_tls_close(struct stream *s)
{
	if (s->tls->is_up) {
		ERR_clear_error();
		(void)SSL_shutdown(s->tls->ssl);
	}
}

void stream_tls_free(struct stream *s)
{
	if (!s->tls)
		return;
	/* OpenSSL would never resume the session of a connection that ended without ceremony; SMTP has its QUIT for that. */
	if (s->tls->is_up)
		SSL_set_shutdown(s->tls->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(s->tls->ssl);
	tls_log_end(s->tls);
	free(s->tls->text);
	free(s->tls);
	s->tls = NULL;
}
