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
#include <unistd.h>

/* One key with its certificates, while they are read. */
struct chain {
	EVP_PKEY *key;
	X509 *leaf;
	STACK_OF(X509) * issuers;
};

static void chain_done(struct chain *c)
{
	EVP_PKEY_free(c->key);
	X509_free(c->leaf);
	sk_X509_pop_free(c->issuers, X509_free);
	*c = (struct chain){0};
}

static const char *openssl_reason(void)
{
	unsigned long code = ERR_peek_last_error();
	const char *text = code ? ERR_reason_error_string(code) : NULL;

	ERR_clear_error();
	return text ? text : "not understood";
}

static int chain_use(SSL_CTX *ctx, struct chain *c, struct str file, struct buf *why)
{
	int err = -EINVAL;

	if (!c->leaf)
		buf_addf(why, "%.*s: no certificate follows the private key: append the certificate and its issuers",
		         STR_ARG(file));
	else if (X509_check_private_key(c->leaf, c->key) != 1)
		buf_addf(why, "%.*s: private key and certificate do not belong together", STR_ARG(file));
	else if (SSL_CTX_use_cert_and_key(ctx, c->leaf, c->key, c->issuers, 1) != 1)
		buf_addf(why, "%.*s: OpenSSL refuses the certificate: %s", STR_ARG(file), openssl_reason());
	else
		err = 0;
	ERR_clear_error();
	chain_done(c);
	return err;
}

static BIO *file_open(struct str file, struct buf *why)
{
	char *path = str_cstr(file);
	BIO *bio = BIO_new_file(path, "r");

	if (!bio) {
		int err = access(path, R_OK) ? errno : EIO;

		buf_addf(why, "cannot open %s: %s%s", path, strerror(err),
		         err == EACCES ? ": let the server start as root, or give its user the right to read this file" : "");
	}
	ERR_clear_error();
	free(path);
	return bio;
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

struct pem_reader {
	SSL_CTX *ctx;
	struct chain chain;
	size_t count;    /* chains in use */
	bool wants_keys; /* a chain file; else certificates alone are collected */
	struct str file;
	struct buf *why;
};

static int reader_take_key(struct pem_reader *r, const unsigned char *data, long size)
{
	int err = r->chain.key ? chain_use(r->ctx, &r->chain, r->file, r->why) : 0;

	if (err)
		return err;
	r->chain.key = d2i_AutoPrivateKey(NULL, &data, size);
	r->count++;
	if (r->chain.key)
		return 0;
	buf_addf(r->why, "%.*s: bad private key: %s", STR_ARG(r->file), openssl_reason());
	return -EINVAL;
}

static int reader_take_certificate(struct pem_reader *r, const unsigned char *data, long size)
{
	X509 *certificate;

	if (r->wants_keys && !r->chain.key) {
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
		return reader_take_certificate(r, data, size);
	if (kind != PEM_KEY || !r->wants_keys)
		return 0;
	err = key_refuse_encrypted(name, header, r->file, r->why);
	return err ? err : reader_take_key(r, data, size);
}

static int reader_read_file(struct pem_reader *r, struct str file)
{
	BIO *bio = file_open(file, r->why);
	char *name, *header;
	unsigned char *data;
	long size;
	size_t found = 0;
	int err = bio ? 0 : -ENOENT;

	r->file = file;
	while (!err && PEM_read_bio(bio, &name, &header, &data, &size)) {
		found++;
		err = reader_take(r, name, header, data, size);
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_clear_free(data, (size_t)size);
	}
	ERR_clear_error();
	BIO_free(bio);
	if (!err && !found) {
		buf_addf(r->why, "%.*s: holds nothing in PEM format", STR_ARG(file));
		err = -EINVAL;
	}
	return err;
}

static int load_chain_files(SSL_CTX *ctx, struct str files, size_t *ret_count, struct buf *why)
{
	struct pem_reader r = {.ctx = ctx, .wants_keys = true, .why = why};
	struct str file;
	int err = 0;

	while (!err && str_next(&files, " \t\r\n,", &file))
		err = reader_read_file(&r, file);
	if (!err && r.chain.key)
		err = chain_use(ctx, &r.chain, r.file, why);
	chain_done(&r.chain);
	*ret_count = r.count;
	return err;
}

static EVP_PKEY *key_read(struct str file, struct buf *why)
{
	struct pem_reader r = {.why = why, .file = file};
	BIO *bio = file_open(file, why);
	char *name, *header;
	unsigned char *data;
	long size;
	int err = bio ? 0 : -ENOENT;

	while (!err && !r.chain.key && PEM_read_bio(bio, &name, &header, &data, &size)) {
		if (pem_kind(name) == PEM_KEY)
			err = key_refuse_encrypted(name, header, file, why);
		if (!err && pem_kind(name) == PEM_KEY)
			err = reader_take_key(&r, data, size);
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_clear_free(data, (size_t)size);
	}
	ERR_clear_error();
	BIO_free(bio);
	if (!err && !r.chain.key)
		buf_addf(why, "%.*s: holds no private key in PEM format", STR_ARG(file));
	return r.chain.key;
}

static int load_pair(SSL_CTX *ctx, struct str cert_file, struct str key_file, struct buf *why)
{
	struct pem_reader r = {.ctx = ctx, .why = why};
	int err = reader_read_file(&r, cert_file);

	if (!err && !r.chain.leaf) {
		buf_addf(why, "%.*s: holds no certificate", STR_ARG(cert_file));
		err = -EINVAL;
	}
	if (!err) {
		r.chain.key = key_read(key_file.len ? key_file : cert_file, why);
		err = r.chain.key ? chain_use(ctx, &r.chain, cert_file, why) : -EINVAL;
	}
	chain_done(&r.chain);
	return err;
}

int tls_keys_load(SSL_CTX *ctx, const struct tls_settings *s, size_t *ret_count, struct buf *why)
{
	*ret_count = 0;
	if (s->chain_files.len)
		return load_chain_files(ctx, s->chain_files, ret_count, why);
	for (size_t i = 0; i < COUNT_OF(s->cert_file); i++) {
		int err;

		if (!s->cert_file[i].len || str_eq_nocase(s->cert_file[i], STR("none")))
			continue;
		err = load_pair(ctx, s->cert_file[i], s->key_file[i], why);
		if (err)
			return err;
		++*ret_count;
	}
	return 0;
}

/* Logjam: groups of 1024 bits are within reach. */
#define DH_BITS_MIN 2048

int tls_dh_load(SSL_CTX *ctx, struct str file, struct buf *why)
{
	EVP_PKEY *parameters;
	BIO *bio;

	if (!file.len || str_eq_nocase(file, STR("auto"))) {
		SSL_CTX_set_dh_auto(ctx, 1);
		return 0;
	}
	if (str_eq_nocase(file, STR("none")))
		return 0;
	bio = file_open(file, why);
	if (!bio)
		return -ENOENT;
	parameters = PEM_read_bio_Parameters(bio, NULL);
	BIO_free(bio);
	if (parameters && EVP_PKEY_get_bits(parameters) < DH_BITS_MIN) {
		buf_addf(why, "%.*s: a Diffie-Hellman group of %d bits can be broken; use one of %d to 8192 bits, or \"auto\"",
		         STR_ARG(file), EVP_PKEY_get_bits(parameters), DH_BITS_MIN);
		EVP_PKEY_free(parameters);
		return -EINVAL;
	}
	if (parameters && SSL_CTX_set0_tmp_dh_pkey(ctx, parameters) == 1)
		return 0;
	EVP_PKEY_free(parameters);
	buf_addf(why, "%.*s: bad Diffie-Hellman parameters: %s; \"auto\" is the best choice", STR_ARG(file), openssl_reason());
	return -EINVAL;
}
