/* SPDX-License-Identifier: Apache-2.0 */
/* TLS contexts: from the settings of a service to an OpenSSL context. */
#include "net/tls.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/list.h"
#include "config/config.h"
#include "config/params.h"
#include "net/net_internal.h"
#include "net/tls_files.h"
#include "net/tls_keys.h"
#include "net/tls_options.h"
#include "net/tls_sessions.h"
#include "net/tls_sni.h"
#include "net/tls_stamp.h"
#include "net/tls_tickets.h"
#include "net/tlsa.h"

struct tls_context {
	struct list link; /* in all_contexts */
	const struct view *view;
	bool is_server;
	bool is_mandatory;
	SSL_CTX *ssl;                /* NULL: what it needs is broken */
	struct tls_sni *sni;         /* NULL: one chain for all */
	struct tls_anchors *anchors; /* NULL: there are none, or `ssl` has them all */
};

static struct list all_contexts;

enum { LIST_MAX = 8192, SCOPE_MAX = 1 << 20 };

SSL_CTX *tls_context_ssl(const struct tls_context *ctx)
{
	return ctx->ssl;
}

const struct tls_anchors *tls_context_anchors(const struct tls_context *ctx)
{
	return ctx->anchors;
}

void tls_context_warnings(const struct view *v, struct buf *why)
{
	SSL_CTX *scratch = SSL_CTX_new(TLS_method());

	if (scratch)
		tls_options_use(scratch, v->params, why);
	SSL_CTX_free(scratch);
	if (v->params->smtpd_tls_enable_rpk)
		buf_addf(why, "%ssmtpd_tls_enable_rpk: raw public keys are not asked for: they need a newer OpenSSL than %s",
		         why->len ? "\n" : "", OPENSSL_VERSION_TEXT);
}

void tls_context_set_sni(struct tls_context *ctx, struct tls_sni *sni)
{
	tls_sni_free(ctx->sni);
	ctx->sni = sni;
	if (ctx->ssl)
		tls_sni_use(sni, ctx->ssl);
}

bool tls_context_is_ready(const struct tls_context *ctx)
{
	return ctx && ctx->ssl;
}

void tls_context_free(struct tls_context *ctx)
{
	if (!ctx)
		return;
	list_remove(&ctx->link);
	SSL_CTX_free(ctx->ssl);
	tls_sni_free(ctx->sni);
	tls_anchors_free(ctx->anchors);
	free(ctx);
}

static int apply_protocols(SSL_CTX *ssl, const struct tls_settings *s, struct buf *why)
{
	struct buf reason = BUF_INIT(1024);
	uint64_t off;
	int err = tls_protocols_parse(s->protocols, &off, &reason);

	if (err)
		buf_addf(why, "%s%sprotocols: %s", s->prefix, s->is_mandatory ? "mandatory_" : "", buf_cstr(&reason));
	else if (!SSL_CTX_set_min_proto_version(ssl, 0) || !SSL_CTX_set_max_proto_version(ssl, 0))
		err = -EINVAL;
	else
		SSL_CTX_set_options(ssl, off);
	buf_done(&reason);
	return err;
}

static int apply_ciphers(SSL_CTX *ssl, const struct tls_settings *s, const struct view *v, struct buf *why)
{
	struct buf list = BUF_INIT(LIST_MAX);
	int err = tls_ciphers_format(&list, s, v);

	if (err) {
		buf_addf(why, "%s%sciphers: bad cipher grade \"%.*s\": use high or medium", s->prefix,
		         s->is_mandatory ? "mandatory_" : "", STR_ARG(s->grade));
	} else if (!SSL_CTX_set_cipher_list(ssl, buf_cstr(&list))) {
		buf_addf(why, "%s%sciphers: OpenSSL finds no cipher in \"%s\": look at the exclude lists", s->prefix,
		         s->is_mandatory ? "mandatory_" : "", buf_cstr(&list));
		err = -EINVAL;
	}
	buf_done(&list);
	return err;
}

/* Groups that this OpenSSL does not know are left out: the defaults name some for all versions. */
static void add_known_groups(SSL_CTX *scratch, struct buf *to, struct str names)
{
	struct str name;

	while (str_next(&names, " \t\r\n,:", &name)) {
		char *text = str_cstr(name);

		if (SSL_CTX_set1_groups_list(scratch, text))
			buf_addf(to, "%s%s", to->len ? ":" : "", text);
		free(text);
	}
	ERR_clear_error();
}

static void apply_groups(SSL_CTX *ssl, const struct params *p)
{
	struct buf groups = BUF_INIT(LIST_MAX);
	SSL_CTX *scratch = SSL_CTX_new(TLS_method());

	if (scratch) {
		add_known_groups(scratch, &groups, p->tls_eecdh_auto_curves);
		add_known_groups(scratch, &groups, p->tls_ffdhe_auto_groups);
	}
	if (groups.len)
		SSL_CTX_set1_groups_list(ssl, buf_cstr(&groups));
	SSL_CTX_free(scratch);
	buf_done(&groups);
}

static int apply_anchors(SSL_CTX *ssl, const struct tls_settings *s, struct tls_anchors **ret_anchors, struct buf *why)
{
	struct buf reason = BUF_INIT(1000);
	int err = tls_anchors_read(s->files, s->anchor_files, ret_anchors, &reason);

	if (!err)
		err = tls_anchors_add_to(*ret_anchors, SSL_CTX_get_cert_store(ssl));
	if (err)
		buf_addf(why, "%strust_anchor_file: %s", s->prefix, buf_cstr(&reason));
	buf_done(&reason);
	return err;
}

static int apply_authorities(SSL_CTX *ssl, const struct tls_settings *s, const struct params *p, struct buf *why)
{
	char *path = s->ca_path.len ? str_cstr(s->ca_path) : NULL;
	/* The names that a server sends along when it asks for a certificate. */
	int err = s->ca_file.len ? tls_authorities_load(ssl, s, s->asks_certificate, why) : 0;

	/* OpenSSL looks there when it needs one, and keeps what it found: when something changes, the context must be made anew.
	 */
	if (path)
		tls_files_note(path);
	if (!err && path && !SSL_CTX_load_verify_dir(ssl, path)) {
		buf_addf(why, "%sCApath: cannot read authorities from %s", s->prefix, path);
		err = -EINVAL;
	}
	/* Certificates of domains with an MTA-STS policy are checked wherever it is turned on, so there must be authorities. */
	if (!err && (p->tls_append_default_CA || (!s->is_server && p->smtp_mta_sts && !s->ca_file.len && !path))) {
		tls_files_note(X509_get_default_cert_file());
		tls_files_note(X509_get_default_cert_dir());
		SSL_CTX_set_default_verify_paths(ssl);
	}
	ERR_clear_error();
	free(path);
	return err;
}

static SSL *connection_of(X509_STORE_CTX *store)
{
	return X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
}

/* Untrusted peers may go on; who they are is looked at afterwards. */
static int accept_any(int is_ok, X509_STORE_CTX *store)
{
	tls_log_certificate(connection_of(store), X509_STORE_CTX_get_current_cert(store), X509_STORE_CTX_get_error_depth(store),
	                    is_ok);
	return 1;
}

/*
 * tls_trust_server_ccerts: one that was made for servers will do, if nothing else is wrong with it. OpenSSL keeps the last error
 * alone, so an earlier one, such as that nobody knows the issuer, is put back.
 */
static int accept_any_purpose(int is_ok, X509_STORE_CTX *store)
{
	struct stream_tls *t = SSL_get_app_data(connection_of(store));
	X509 *x = X509_STORE_CTX_get_current_cert(store);
	int error = X509_STORE_CTX_get_error(store), depth = X509_STORE_CTX_get_error_depth(store);

	if (!is_ok && error == X509_V_ERR_INVALID_PURPOSE && x && X509_check_purpose(x, X509_PURPOSE_SSL_SERVER, depth > 0) == 1)
		X509_STORE_CTX_set_error(store, t->verify_error);
	else if (!is_ok)
		t->verify_error = error;
	return accept_any(is_ok, store);
}

static void apply_verification(SSL_CTX *ssl, const struct tls_settings *s)
{
	int mode = SSL_VERIFY_NONE;

	if (s->asks_certificate || !s->is_server)
		mode = SSL_VERIFY_PEER;
	SSL_CTX_set_verify(ssl, mode, s->is_server && s->trusts_server_certificates ? accept_any_purpose : accept_any);
	/* To OpenSSL the depth is how many certificates may lie between the first and the last; to Postfix one less. */
	SSL_CTX_set_verify_depth(ssl, (int)(s->verify_depth < INT_MAX ? s->verify_depth + 1 : s->verify_depth));
}

static void add_stamp(struct buf *to, const char *path)
{
	struct tls_stamp stamp = tls_stamp_of(path);

	buf_addf(to, "%s\n", path);
	buf_add_bytes(to, (const char *)&stamp, sizeof(stamp));
}

static void add_authorities(struct buf *to, X509_STORE *store)
{
	STACK_OF(X509_OBJECT) *all = X509_STORE_get0_objects(store);

	for (int i = 0; i < sk_X509_OBJECT_num(all); i++) {
		const X509 *certificate = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(all, i));
		const X509_CRL *revoked = X509_OBJECT_get0_X509_CRL(sk_X509_OBJECT_value(all, i));
		unsigned char digest[EVP_MAX_MD_SIZE];
		unsigned size = 0;

		if (certificate ? X509_digest(certificate, EVP_sha256(), digest, &size)
		                : revoked && X509_CRL_digest(revoked, EVP_sha256(), digest, &size))
			buf_add_bytes(to, (const char *)digest, size);
	}
}

/*
 * A ticket says what was found of a client's certificate when the session began, and all services can read it. It is good only
 * where the same would be found: under the same demands, and the same authorities.
 */
static int apply_session_scope(SSL_CTX *ssl, const struct tls_settings *s, const struct params *p)
{
	struct buf text = BUF_INIT(SCOPE_MAX);
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned size = 0;
	char *path = str_cstr(s->ca_path);
	int err;

	buf_addf(&text, "%d %d %lld\n", s->asks_certificate, s->trusts_server_certificates, (long long)s->verify_depth);
	if (s->asks_certificate) {
		add_stamp(&text, path);
		add_stamp(&text, p->tls_append_default_CA ? X509_get_default_cert_dir() : "");
		add_authorities(&text, SSL_CTX_get_cert_store(ssl));
	}
	err = buf_check(&text);
	if (!err && (!EVP_Digest(text.ptr, text.len, digest, &size, EVP_sha256(), NULL) ||
	             !SSL_CTX_set_session_id_context(ssl, digest, size)))
		err = -ENOMEM;
	free(path);
	buf_done(&text);
	return err;
}

/* A client that wants something else was led astray by somebody, and would take our replies for its own (ALPACA). */
static int select_protocol(SSL *ssl, const unsigned char **ret_name, unsigned char *ret_len, const unsigned char *offered,
                           unsigned offered_len, void *arg)
{
	static const unsigned char smtp[] = {4, 's', 'm', 't', 'p'};
	unsigned char *name;

	if (SSL_select_next_proto(&name, ret_len, smtp, sizeof(smtp), offered, offered_len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*ret_name = name;
	return SSL_TLSEXT_ERR_OK;
}

/* Without tickets there is no resumption: sessions are kept nowhere. */
static int apply_tickets(SSL_CTX *ssl, const struct tls_settings *s, struct str cipher, struct buf *why)
{
	bool has_tickets = s->session_time.ns > 0 && (cipher.len || !s->is_server);

	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
	if (has_tickets)
		SSL_CTX_set_timeout(ssl, (long)(s->session_time.ns / NS_PER_S));
	else
		SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET);
	if (s->is_server)
		SSL_CTX_set_num_tickets(ssl, has_tickets);
	else if (has_tickets)
		tls_sessions_enable(ssl);
	if (s->is_server && has_tickets && tls_tickets_use(ssl, cipher)) {
		buf_addf(why, "tls_session_ticket_cipher: \"%.*s\" will not do: use aes-256-cbc or the like", STR_ARG(cipher));
		return -EINVAL;
	}
	return 0;
}

static void apply_habits(SSL_CTX *ssl, const struct tls_settings *s, const struct params *p)
{
	SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
	if (s->is_server && p->tls_preempt_cipherlist)
		SSL_CTX_set_options(ssl, SSL_OP_CIPHER_SERVER_PREFERENCE);
	/* An idle connection shall hold no record buffers. */
	SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	/* One system call a record instead of two. */
	SSL_CTX_set_read_ahead(ssl, 1);
	if (s->is_server)
		SSL_CTX_set_alpn_select_cb(ssl, select_protocol, NULL);
	/* The parameters alone say which protocols and ciphers are good enough; of a chain that shall prove
	   something OpenSSL's own level is asked. */
	SSL_CTX_set_security_level(ssl, 0);
	X509_VERIFY_PARAM_set_auth_level(SSL_CTX_get0_param(ssl), 1);
}

/* Matching types of TLSA records, the strongest with the highest ordinal. A bad list is no matter where no TLSA record comes. */
static void apply_tlsa_digests(SSL_CTX *ssl, struct str list)
{
	struct tlsa_digests digests;
	struct buf why = BUF_INIT(1000);

	if (!tlsa_digests_parse(list, &digests, &why) && SSL_CTX_dane_enable(ssl) > 0)
		for (size_t i = 0; i < digests.count; i++)
			SSL_CTX_dane_mtype_set(ssl, EVP_get_digestbyname(digests.list[i].name), digests.list[i].matching,
			                       (uint8_t)(digests.count - i));
	buf_done(&why);
}

static int apply_keys(SSL_CTX *ssl, const struct tls_settings *s, struct buf *why)
{
	struct tls_chains *chains;
	int err = tls_chains_read(s, &chains, why);

	if (err)
		return err;
	err = tls_chains_use(chains, ssl, why);
	if (!err && s->is_server && !tls_chains_count(chains) && !str_eq_nocase(s->cert_file[0], STR("none"))) {
		buf_addf(why,
		         "no server certificate: set smtpd_tls_chain_files to a file with private key, certificate and issuers");
		err = -ENOENT;
	}
	tls_chains_free(chains);
	return !err && s->is_server ? tls_dh_load(ssl, s, why) : err;
}

static int apply_digest(const struct tls_settings *s, struct buf *why)
{
	if (!s->digest.len || !tls_digest_check(s->digest))
		return 0;
	buf_addf(why, "%sfingerprint_digest: OpenSSL knows no digest \"%.*s\"", s->prefix, STR_ARG(s->digest));
	return -EINVAL;
}

static int apply_all(SSL_CTX *ssl, const struct tls_settings *s, const struct view *v, struct tls_anchors **ret_anchors,
                     struct buf *why)
{
	struct buf ignored = BUF_INIT(2000);
	int err;

	apply_habits(ssl, s, v->params);
	apply_verification(ssl, s);
	apply_groups(ssl, v->params);
	if (!s->is_server)
		apply_tlsa_digests(ssl, v->params->tls_dane_digests);
	tls_options_use(ssl, v->params, &ignored);
	buf_done(&ignored);
	err = apply_protocols(ssl, s, why);
	if (!err)
		err = apply_ciphers(ssl, s, v, why);
	if (!err)
		err = apply_digest(s, why);
	if (!err)
		err = apply_tickets(ssl, s, v->params->tls_session_ticket_cipher, why);
	if (!err)
		err = s->anchor_files.len ? apply_anchors(ssl, s, ret_anchors, why) : apply_authorities(ssl, s, v->params, why);
	if (!err && s->is_server)
		err = apply_session_scope(ssl, s, v->params);
	if (!err)
		err = apply_keys(ssl, s, why);
	ERR_clear_error();
	return err;
}

/* What the context had stays when this fails. */
static int context_make(struct tls_context *ctx, const struct tls_files *files, struct buf *why)
{
	struct tls_anchors *anchors = NULL;
	struct tls_settings s;
	SSL_CTX *ssl;
	int err;

	if (ctx->is_server)
		tls_settings_server(&s, ctx->view);
	else
		tls_settings_client(&s, ctx->view, ctx->is_mandatory);
	s.files = files;
	err = tls_library_begin(config_main_view(ctx->view->config)->params, why);
	if (err)
		return err;
	ssl = SSL_CTX_new(ctx->is_server ? TLS_server_method() : TLS_client_method());
	if (!ssl) {
		buf_addf(why, "OpenSSL cannot start: %s", ERR_reason_error_string(ERR_get_error()));
		return -ENOMEM;
	}
	err = apply_all(ssl, &s, ctx->view, &anchors, why);
	/* Connections hold on to the one that they began with. */
	SSL_CTX_free(err ? ssl : ctx->ssl);
	if (err || (anchors && !tls_anchors_have_keys(anchors))) {
		tls_anchors_free(anchors);
		anchors = NULL;
	}
	if (err)
		return err;
	ctx->ssl = ssl;
	tls_anchors_free(ctx->anchors);
	ctx->anchors = anchors;
	if (ctx->sni)
		tls_sni_use(ctx->sni, ssl);
	return 0;
}

static struct tls_context *context_new(const struct view *v, bool is_server, bool is_mandatory)
{
	struct tls_context *ctx = mem_alloc(sizeof(*ctx));

	*ctx = (struct tls_context){.view = v, .is_server = is_server, .is_mandatory = is_mandatory};
	if (!all_contexts.next)
		list_init(&all_contexts);
	list_add(&all_contexts, &ctx->link);
	return ctx;
}

int tls_server_context_new(const struct view *v, struct tls_context **ret_context, struct buf *why)
{
	*ret_context = context_new(v, true, false);
	return context_make(*ret_context, NULL, why);
}

int tls_client_context_new(const struct view *v, bool is_mandatory, struct tls_context **ret_context, struct buf *why)
{
	struct tls_context *ctx = context_new(v, false, is_mandatory);
	int err = context_make(ctx, NULL, why);

	*ret_context = err ? NULL : ctx;
	if (err)
		tls_context_free(ctx);
	return err;
}

/* Several services have the same files. */
static void add_reason(struct buf *to, struct buf *reason)
{
	if (reason->len && str_find_str(buf_str(to), buf_str(reason)) == to->len)
		buf_addf(to, "%s%s", to->len ? "; " : "", buf_cstr(reason));
	buf_reset(reason);
}

int tls_contexts_renew(const struct tls_files *files, struct buf *why)
{
	int first_err = 0;

	if (!all_contexts.next)
		return 0;
	LIST_EACH(&all_contexts, it) {
		struct tls_context *ctx = LIST_ENTRY(it, struct tls_context, link);
		struct buf reason = BUF_INIT(2000);
		int err = context_make(ctx, files, &reason);

		add_reason(why, &reason);
		if (!first_err)
			first_err = err;
		err = ctx->sni ? tls_sni_renew(ctx->sni, files, &reason) : 0;
		add_reason(why, &reason);
		if (!first_err)
			first_err = err;
		buf_done(&reason);
	}
	return first_err;
}
