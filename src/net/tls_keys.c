/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys and certificates. A chain file holds, for each algorithm, the private key, then its
 * certificate, then the certificates of the issuers; several files read on as if they were one.
 * The older way is a certificate file (certificate, issuers) and a key file for each algorithm.
 */
#include "net/tls_keys.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "base/base.h"
#include "net/tls_files.h"

/* Logjam: groups of 1024 bits are within reach. */
enum { CHAINS_MAX = 8, DH_BITS_MIN = 2048 };

/* One key with its certificates. */
struct chain {
	EVP_PKEY *key;
	X509 *leaf;
	STACK_OF(X509) * issuers;
	char *file; /* for messages */
};

struct tls_chains {
	struct chain all[CHAINS_MAX];
	size_t count;
};

static void chain_done(struct chain *c)
{
	EVP_PKEY_free(c->key);
	X509_free(c->leaf);
	sk_X509_pop_free(c->issuers, X509_free);
	free(c->file);
	*c = (struct chain){0};
}

void tls_chains_free(struct tls_chains *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->count; i++)
		chain_done(&c->all[i]);
	free(c);
}

size_t tls_chains_count(const struct tls_chains *c)
{
	return c->count;
}

static const char *openssl_reason(void)
{
	unsigned long code = ERR_peek_last_error();
	const char *text = code ? ERR_reason_error_string(code) : NULL;

	ERR_clear_error();
	return text ? text : "not understood";
}

/* Key and certificates are complete: the chain goes among the others. */
static int chain_keep(struct tls_chains *to, struct chain *c, struct str file, struct buf *why)
{
	int err = -EINVAL;

	if (!c->leaf) {
		buf_addf(why, "%.*s: no certificate follows the private key: append the certificate and its issuers",
		         STR_ARG(file));
	} else if (X509_check_private_key(c->leaf, c->key) != 1) {
		buf_addf(why, "%.*s: private key and certificate do not belong together", STR_ARG(file));
	} else if (to->count == CHAINS_MAX) {
		buf_addf(why, "%.*s: more than %d private keys", STR_ARG(file), CHAINS_MAX);
	} else {
		c->file = str_cstr(file);
		to->all[to->count++] = *c;
		*c = (struct chain){0};
		err = 0;
	}
	ERR_clear_error();
	chain_done(c);
	return err;
}

/* Keys that need a passphrase cannot be used: nobody is there to type it. */
static int key_refuse_encrypted(const char *name, const char *header, struct str file, struct buf *why)
{
	if (!strstr(name, "ENCRYPTED") && !strstr(header, "ENCRYPTED"))
		return 0;
	buf_addf(why, "%.*s: the private key has a passphrase: remove it with \"openssl pkey -in %.*s -out NEWFILE\"",
	         STR_ARG(file), STR_ARG(file));
	return -EINVAL;
}

enum pem_kind { PEM_KEY, PEM_CERTIFICATE, PEM_OTHER };

static enum pem_kind pem_kind(const char *name)
{
	struct str s = str_of(name);

	if (str_ends(s, STR("PRIVATE KEY")))
		return PEM_KEY;
	return str_eq(s, STR("CERTIFICATE")) || str_eq(s, STR("X509 CERTIFICATE")) ? PEM_CERTIFICATE : PEM_OTHER;
}

static int chain_add_certificate(struct chain *c, X509 *certificate)
{
	if (!c->leaf) {
		c->leaf = certificate;
		return 0;
	}
	if (!c->issuers)
		c->issuers = sk_X509_new_null();
	if (c->issuers && sk_X509_push(c->issuers, certificate))
		return 0;
	X509_free(certificate);
	return -ENOMEM;
}

/* Which parts of a PEM file are wanted. */
enum pem_wish { WISH_CHAINS, WISH_CERTIFICATES, WISH_FIRST_KEY };

struct pem_reader {
	struct tls_chains *to;
	struct chain chain; /* the one that is being read */
	enum pem_wish wish;
	struct str file;
	struct buf *why;
};

static int reader_take_key(struct pem_reader *r, const unsigned char *data, long size)
{
	int err = r->chain.key ? chain_keep(r->to, &r->chain, r->file, r->why) : 0;

	if (err)
		return err;
	r->chain.key = d2i_AutoPrivateKey(NULL, &data, size);
	if (r->chain.key)
		return 0;
	buf_addf(r->why, "%.*s: bad private key: %s", STR_ARG(r->file), openssl_reason());
	return -EINVAL;
}

static int reader_take_certificate(struct pem_reader *r, const unsigned char *data, long size)
{
	X509 *certificate;

	if (r->wish == WISH_CHAINS && !r->chain.key) {
		buf_addf(r->why, "%.*s: a certificate stands before its private key: put the key first", STR_ARG(r->file));
		return -EINVAL;
	}
	certificate = d2i_X509(NULL, &data, size);
	if (certificate)
		return chain_add_certificate(&r->chain, certificate);
	buf_addf(r->why, "%.*s: bad certificate: %s", STR_ARG(r->file), openssl_reason());
	return -EINVAL;
}

static int reader_take(struct pem_reader *r, const char *name, const char *header, const unsigned char *data, long size)
{
	enum pem_kind kind = pem_kind(name);
	int err;

	if (kind == PEM_CERTIFICATE)
		return r->wish == WISH_FIRST_KEY ? 0 : reader_take_certificate(r, data, size);
	if (kind != PEM_KEY || r->wish == WISH_CERTIFICATES || (r->wish == WISH_FIRST_KEY && r->chain.key))
		return 0;
	err = key_refuse_encrypted(name, header, r->file, r->why);
	return err ? err : reader_take_key(r, data, size);
}

/* Why PEM_read_bio() found no more: at the end of a good file nothing begins any more. */
static bool is_damaged(void)
{
	unsigned long code = ERR_peek_last_error();

	return ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) != PEM_R_NO_START_LINE;
}

/* Takes the BIO over. */
static int reader_read(struct pem_reader *r, BIO *bio)
{
	char *name, *header;
	unsigned char *data;
	long size;
	size_t found = 0;
	int err = bio ? 0 : -ENOENT;

	ERR_clear_error();
	while (!err && PEM_read_bio(bio, &name, &header, &data, &size)) {
		found++;
		err = reader_take(r, name, header, data, size);
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_clear_free(data, (size_t)size);
	}
	if (!err && is_damaged()) {
		buf_addf(r->why, "%.*s: a part of it is garbled or broken off: write the file anew", STR_ARG(r->file));
		err = -EINVAL;
	}
	ERR_clear_error();
	BIO_free(bio);
	if (!err && !found) {
		buf_addf(r->why, "%.*s: holds nothing in PEM format", STR_ARG(r->file));
		err = -EINVAL;
	}
	return err;
}

static int reader_read_file(struct pem_reader *r, const struct tls_files *files, struct str file)
{
	r->file = file;
	return reader_read(r, tls_files_open(files, file, r->why));
}

static int reader_end(struct pem_reader *r, int err)
{
	if (!err && r->chain.key)
		return chain_keep(r->to, &r->chain, r->file, r->why);
	chain_done(&r->chain);
	return err;
}

static int read_chain_files(const struct tls_settings *s, struct tls_chains *to, struct buf *why)
{
	struct pem_reader r = {.to = to, .wish = WISH_CHAINS, .why = why};
	struct str files = s->chain_files, file;
	int err = 0;

	while (!err && str_next(&files, " \t\r\n,", &file))
		err = reader_read_file(&r, s->files, file);
	return reader_end(&r, err);
}

static int read_pair(const struct tls_settings *s, size_t at, struct tls_chains *to, struct buf *why)
{
	struct str key_file = s->key_file[at].len ? s->key_file[at] : s->cert_file[at];
	struct pem_reader r = {.to = to, .wish = WISH_CERTIFICATES, .why = why};
	int err = reader_read_file(&r, s->files, s->cert_file[at]);

	if (!err && !r.chain.leaf) {
		buf_addf(why, "%.*s: holds no certificate", STR_ARG(s->cert_file[at]));
		err = -EINVAL;
	}
	r.wish = WISH_FIRST_KEY;
	if (!err)
		err = reader_read_file(&r, s->files, key_file);
	if (!err && !r.chain.key) {
		buf_addf(why, "%.*s: holds no private key in PEM format", STR_ARG(key_file));
		err = -EINVAL;
	}
	r.file = s->cert_file[at];
	return reader_end(&r, err);
}

int tls_chains_read(const struct tls_settings *s, struct tls_chains **ret_chains, struct buf *why)
{
	struct tls_chains *c = mem_alloc(sizeof(*c));
	int err = s->chain_files.len ? read_chain_files(s, c, why) : 0;

	for (size_t i = 0; i < COUNT_OF(s->cert_file) && !err && !s->chain_files.len; i++)
		if (s->cert_file[i].len && !str_eq_nocase(s->cert_file[i], STR("none")))
			err = read_pair(s, i, c, why);
	if (err)
		tls_chains_free(c);
	else
		*ret_chains = c;
	return err;
}

int tls_chains_parse(struct str pem, struct str name, struct tls_chains **ret_chains, struct buf *why)
{
	struct tls_chains *c = mem_alloc(sizeof(*c));
	struct pem_reader r = {.to = c, .wish = WISH_CHAINS, .file = name, .why = why};
	int err = reader_end(&r, reader_read(&r, BIO_new_mem_buf(pem.ptr, (int)pem.len)));

	if (!err && !c->count) {
		buf_addf(why, "%.*s: holds no private key in PEM format", STR_ARG(name));
		err = -EINVAL;
	}
	if (err)
		tls_chains_free(c);
	else
		*ret_chains = c;
	return err;
}

int tls_chains_use(const struct tls_chains *c, SSL_CTX *ctx, struct buf *why)
{
	for (size_t i = 0; i < c->count; i++) {
		const struct chain *one = &c->all[i];

		if (SSL_CTX_use_cert_and_key(ctx, one->leaf, one->key, one->issuers, 1) == 1)
			continue;
		buf_addf(why, "%s: OpenSSL refuses the certificate: %s", one->file, openssl_reason());
		return -EINVAL;
	}
	return 0;
}

int tls_chains_use_for(const struct tls_chains *c, SSL *ssl)
{
	SSL_certs_clear(ssl);
	for (size_t i = 0; i < c->count; i++)
		if (SSL_use_cert_and_key(ssl, c->all[i].leaf, c->all[i].key, c->all[i].issuers, 1) != 1)
			return -EINVAL;
	return 0;
}

static int dh_use_file(SSL_CTX *ctx, const struct tls_settings *s, struct buf *why)
{
	BIO *bio = tls_files_open(s->files, s->dh_file, why);
	EVP_PKEY *parameters;
	int bits;

	if (!bio)
		return -ENOENT;
	parameters = PEM_read_bio_Parameters(bio, NULL);
	bits = parameters ? EVP_PKEY_get_bits(parameters) : 0;
	BIO_free(bio);
	if (parameters && bits < DH_BITS_MIN) {
		buf_addf(why, "%.*s: a Diffie-Hellman group of %d bits can be broken; use one of %d to 8192 bits, or \"auto\"",
		         STR_ARG(s->dh_file), bits, DH_BITS_MIN);
	} else if (parameters && SSL_CTX_set0_tmp_dh_pkey(ctx, parameters) == 1) {
		return 0;
	} else {
		buf_addf(why, "%.*s: bad Diffie-Hellman parameters: %s; \"auto\" is the best choice", STR_ARG(s->dh_file),
		         openssl_reason());
	}
	EVP_PKEY_free(parameters);
	return -EINVAL;
}

int tls_dh_load(SSL_CTX *ctx, const struct tls_settings *s, struct buf *why)
{
	if (str_eq_nocase(s->dh_file, STR("none")))
		return 0;
	if (s->dh_file.len && !str_eq_nocase(s->dh_file, STR("auto")))
		return dh_use_file(ctx, s, why);
	SSL_CTX_set_dh_auto(ctx, 1);
	return 0;
}

static int add_authority(X509_STORE *store, STACK_OF(X509_NAME) * names, X509_INFO *info)
{
	X509_NAME *name;

	if (info->crl && !X509_STORE_add_crl(store, info->crl))
		return -ENOMEM;
	if (!info->x509)
		return 0;
	if (!X509_STORE_add_cert(store, info->x509))
		return -EINVAL;
	name = names ? X509_NAME_dup(X509_get_subject_name(info->x509)) : NULL;
	if (name && !sk_X509_NAME_push(names, name))
		X509_NAME_free(name);
	return 0;
}

int tls_authorities_load(SSL_CTX *ctx, const struct tls_settings *s, bool has_names, struct buf *why)
{
	BIO *bio = tls_files_open(s->files, s->ca_file, why);
	STACK_OF(X509_INFO) *all = bio ? PEM_X509_INFO_read_bio(bio, NULL, NULL, NULL) : NULL;
	STACK_OF(X509_NAME) *names = has_names ? sk_X509_NAME_new_null() : NULL;
	int err = all && sk_X509_INFO_num(all) > 0 ? 0 : -EINVAL;

	for (int i = 0; !err && i < sk_X509_INFO_num(all); i++)
		err = add_authority(SSL_CTX_get_cert_store(ctx), names, sk_X509_INFO_value(all, i));
	if (err && bio)
		buf_addf(why, "%sCAfile: cannot read authorities from %.*s: %s", s->prefix, STR_ARG(s->ca_file),
		         openssl_reason());
	else if (names)
		SSL_CTX_set_client_CA_list(ctx, names);
	if (err)
		sk_X509_NAME_pop_free(names, X509_NAME_free);
	sk_X509_INFO_pop_free(all, X509_INFO_free);
	BIO_free(bio);
	ERR_clear_error();
	return err;
}

/* --- trust anchors ------------------------------------------------------------------------------------------ */

enum { ANCHORS_MAX = 1000, USAGE_ANCHOR = 2, SELECTOR_CERTIFICATE = 0, SELECTOR_KEY = 1, MATCHING_WHOLE = 0 };

/* As a TLSA record would tell it (RFC 6698): OpenSSL takes public keys in no other way. */
struct anchor {
	uint8_t selector;
	unsigned char *data; /* OpenSSL's memory */
	size_t size;
};

struct tls_anchors {
	struct anchor *all;
	size_t count;
};

void tls_anchors_free(struct tls_anchors *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < a->count; i++)
		OPENSSL_free(a->all[i].data);
	free(a->all);
	free(a);
}

static X509 *certificate_of(const struct anchor *a)
{
	const unsigned char *at = a->data;

	return d2i_X509(NULL, &at, (long)a->size);
}

static bool is_good_anchor(const struct anchor *a)
{
	const unsigned char *at = a->data;
	X509 *certificate = a->selector == SELECTOR_CERTIFICATE ? certificate_of(a) : NULL;
	EVP_PKEY *key = a->selector == SELECTOR_KEY ? d2i_PUBKEY(NULL, &at, (long)a->size) : NULL;
	bool is_good = certificate || key;

	X509_free(certificate);
	EVP_PKEY_free(key);
	return is_good;
}

/* Takes the data over. What is neither certificate nor public key is passed over. */
static int anchors_add(struct tls_anchors *to, const char *name, unsigned char *data, size_t size)
{
	bool is_key = !strcmp(name, "PUBLIC KEY");
	struct anchor a = {.selector = is_key ? SELECTOR_KEY : SELECTOR_CERTIFICATE, .data = data, .size = size};

	if (!is_key && pem_kind(name) != PEM_CERTIFICATE) {
		OPENSSL_free(data);
		return 0;
	}
	if (to->count == ANCHORS_MAX || !is_good_anchor(&a)) {
		OPENSSL_free(data);
		return -EINVAL;
	}
	to->all = mem_resize(to->all, (to->count + 1) * sizeof(*to->all));
	to->all[to->count++] = a;
	return 0;
}

static int anchors_read_file(const struct tls_files *f, struct str file, struct tls_anchors *to, struct buf *why)
{
	BIO *bio = tls_files_open(f, file, why);
	size_t before = to->count;
	char *name, *header;
	unsigned char *data;
	int err = 0;
	long size;

	if (!bio)
		return -EINVAL;
	while (!err && PEM_read_bio(bio, &name, &header, &data, &size)) {
		err = anchors_add(to, name, data, (size_t)size);
		OPENSSL_free(name);
		OPENSSL_free(header);
	}
	if (!err && to->count == before)
		err = -EINVAL;
	if (err)
		buf_addf(why, "cannot read certificates and public keys from %.*s", STR_ARG(file));
	BIO_free(bio);
	ERR_clear_error();
	return err;
}

int tls_anchors_read(const struct tls_files *f, struct str files, struct tls_anchors **ret_anchors, struct buf *why)
{
	struct tls_anchors *a = mem_alloc(sizeof(*a));
	struct str file;
	int err = 0;

	while (!err && str_next(&files, " \t\r\n,", &file))
		err = anchors_read_file(f, file, a, why);
	*ret_anchors = err ? NULL : a;
	if (err)
		tls_anchors_free(a);
	return err;
}

bool tls_anchors_have_keys(const struct tls_anchors *a)
{
	for (size_t i = 0; i < a->count; i++)
		if (a->all[i].selector == SELECTOR_KEY)
			return true;
	return false;
}

int tls_anchors_add_to(const struct tls_anchors *a, X509_STORE *store)
{
	bool is_good = X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);

	for (size_t i = 0; is_good && i < a->count; i++) {
		X509 *certificate = a->all[i].selector == SELECTOR_CERTIFICATE ? certificate_of(&a->all[i]) : NULL;

		is_good = !certificate || X509_STORE_add_cert(store, certificate);
		X509_free(certificate);
	}
	return is_good ? 0 : -ENOMEM;
}

int tls_anchors_use_for(const struct tls_anchors *a, SSL *ssl)
{
	bool is_good = SSL_CTX_dane_enable(SSL_get_SSL_CTX(ssl)) > 0 && SSL_dane_enable(ssl, NULL) > 0;

	for (size_t i = 0; is_good && i < a->count; i++)
		is_good = SSL_dane_tlsa_add(ssl, USAGE_ANCHOR, a->all[i].selector, MATCHING_WHOLE, a->all[i].data,
		                            a->all[i].size) > 0;
	return is_good ? 0 : -EINVAL;
}
