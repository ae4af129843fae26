/* SPDX-License-Identifier: Apache-2.0 */
/* One value of the password tables: reading it, and the keys of SCRAM. */
#include <errno.h>
#include <gsasl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#include "base/encoding.h"
#include "sasl/password.h"

static const struct {
	const char *name;
	enum secret_kind kind;
} schemes[] = {
	{"{CRYPT}", SECRET_CRYPT},
	{"{SHA512-CRYPT}", SECRET_CRYPT},
	{"{SHA256-CRYPT}", SECRET_CRYPT},
	{"{BLF-CRYPT}", SECRET_CRYPT},
	{"{MD5-CRYPT}", SECRET_CRYPT},
	{"{YESCRYPT}", SECRET_CRYPT},
	{"{PLAIN}", SECRET_PLAIN},
	{"{CLEARTEXT}", SECRET_PLAIN},
	{"{SCRAM-SHA-1}", SECRET_SCRAM_SHA_1},
	{"{SCRAM-SHA-256}", SECRET_SCRAM_SHA_256},
};

static size_t key_size(enum secret_kind kind)
{
	return kind == SECRET_SCRAM_SHA_1 ? 20 : 32;
}

/* -EBADMSG unless it decodes to between `min` and `max` bytes. */
static int take_base64(struct str text, size_t min, size_t max, unsigned char *to, size_t *ret_size)
{
	struct buf bytes = BUF_INIT(max);
	int err = base64_decode(&bytes, text);

	if (!err)
		err = buf_check(&bytes);
	if (!err && bytes.len >= min) {
		memcpy(to, bytes.ptr, bytes.len);
		*ret_size = bytes.len;
	} else {
		err = -EBADMSG;
	}
	if (bytes.ptr)
		explicit_bzero(bytes.ptr, bytes.size);
	buf_done(&bytes);
	return err ? -EBADMSG : 0;
}

static int parse_scram(struct str value, struct secret *secret)
{
	struct scram_keys *k = &secret->scram;
	struct str iterations, salt, stored, server;
	size_t size = key_size(secret->kind), got;
	unsigned long long number;

	if (!str_split(value, ',', &iterations, &value) || !str_split(value, ',', &salt, &value) ||
	    !str_split(value, ',', &stored, &server))
		return -EBADMSG;
	if (str_parse_u64(iterations, &number) || number < 1 || number > SCRAM_ITERATIONS_MAX)
		return -EBADMSG;
	k->iterations = (uint32_t)number;
	k->key_size = size;
	if (take_base64(salt, 1, SCRAM_SALT_MAX, k->salt, &k->salt_size) ||
	    take_base64(stored, size, size, k->stored_key, &got) || take_base64(server, size, size, k->server_key, &got))
		return -EBADMSG;
	return 0;
}

int secret_parse(struct str value, struct secret *ret_secret)
{
	struct secret *secret = ret_secret;

	*secret = (struct secret){.kind = SECRET_CRYPT};
	value = str_trim(value);
	if (value.len && value.ptr[0] == '{') {
		secret->kind = SECRET_NONE;
		for (size_t i = 0; i < COUNT_OF(schemes) && !secret->kind; i++)
			if (str_starts_nocase(value, str_of(schemes[i].name))) {
				secret->kind = schemes[i].kind;
				value = str_from(value, strlen(schemes[i].name));
			}
	}
	if (!secret->kind)
		return -EBADMSG;
	if (secret->kind == SECRET_SCRAM_SHA_1 || secret->kind == SECRET_SCRAM_SHA_256)
		return parse_scram(value, secret);
	if (value.len > SECRET_TEXT_MAX || str_has(value, '\0'))
		return -EBADMSG;
	if (value.len)
		memcpy(secret->text, value.ptr, value.len);
	return 0;
}

static void add_key(struct buf *to, const unsigned char *key, size_t size)
{
	buf_add_char(to, ',');
	base64_encode(to, str_n((const char *)key, size));
}

void secret_format_scram(struct buf *to, enum secret_kind kind, const struct scram_keys *keys)
{
	buf_addf(to, "%s%u", kind == SECRET_SCRAM_SHA_1 ? "{SCRAM-SHA-1}" : "{SCRAM-SHA-256}", keys->iterations);
	add_key(to, keys->salt, keys->salt_size);
	add_key(to, keys->stored_key, keys->key_size);
	add_key(to, keys->server_key, keys->key_size);
}

static void hmac(const EVP_MD *md, const unsigned char *key, size_t size, const char *text, unsigned char *ret_mac)
{
	if (!HMAC(md, key, (int)size, (const unsigned char *)text, strlen(text), ret_mac, NULL))
		die("HMAC failed");
}

/* A password that SASLprep (RFC 4013) refuses is taken as it is. */
static char *prepared(struct str password)
{
	char *text = str_cstr(password), *out = NULL;

	if (gsasl_saslprep(text, GSASL_ALLOW_UNASSIGNED, &out, NULL) != GSASL_OK)
		return text;
	explicit_bzero(text, password.len);
	free(text);
	return out;
}

void scram_derive(enum secret_kind kind, struct str password, struct scram_keys *keys)
{
	const EVP_MD *md = kind == SECRET_SCRAM_SHA_1 ? EVP_sha1() : EVP_sha256();
	size_t size = keys->key_size = key_size(kind);
	unsigned char salted[SCRAM_KEY_MAX], client_key[SCRAM_KEY_MAX];
	char *text = prepared(password);

	if (!PKCS5_PBKDF2_HMAC(text, (int)strlen(text), keys->salt, (int)keys->salt_size, (int)keys->iterations, md, (int)size,
	                       salted))
		die("PBKDF2 failed");
	hmac(md, salted, size, "Client Key", client_key);
	hmac(md, salted, size, "Server Key", keys->server_key);
	if (!EVP_Digest(client_key, size, keys->stored_key, NULL, md, NULL))
		die("the digest of a key failed");
	explicit_bzero(salted, sizeof(salted));
	explicit_bzero(client_key, sizeof(client_key));
	explicit_bzero(text, strlen(text));
	free(text);
}
