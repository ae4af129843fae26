/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_options.h"

#include <errno.h>
#include <openssl/conf.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#include "base/base.h"
#include "config/params.h"

struct option_name {
	const char *name;
	uint64_t bit; /* 0: what it asked for is always so */
};

static const struct option_name options[] = {
	{"ALLOW_NO_DHE_KEX", SSL_OP_ALLOW_NO_DHE_KEX},
	{"CIPHER_SERVER_PREFERENCE", SSL_OP_CIPHER_SERVER_PREFERENCE},
	{"CLEANSE_PLAINTEXT", SSL_OP_CLEANSE_PLAINTEXT},
	{"ENABLE_KTLS", SSL_OP_ENABLE_KTLS},
	{"ENABLE_MIDDLEBOX_COMPAT", SSL_OP_ENABLE_MIDDLEBOX_COMPAT},
	{"IGNORE_UNEXPECTED_EOF", SSL_OP_IGNORE_UNEXPECTED_EOF},
	{"LEGACY_SERVER_CONNECT", SSL_OP_LEGACY_SERVER_CONNECT},
	{"NO_ANTI_REPLAY", SSL_OP_NO_ANTI_REPLAY},
	{"NO_COMPRESSION", SSL_OP_NO_COMPRESSION},
	{"NO_ENCRYPT_THEN_MAC", SSL_OP_NO_ENCRYPT_THEN_MAC},
	{"NO_EXTENDED_MASTER_SECRET", SSL_OP_NO_EXTENDED_MASTER_SECRET},
	{"NO_RENEGOTIATION", SSL_OP_NO_RENEGOTIATION},
	{"NO_SESSION_RESUMPTION_ON_RENEGOTIATION", SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION},
	{"NO_TICKET", SSL_OP_NO_TICKET},
	{"PRIORITIZE_CHACHA", SSL_OP_PRIORITIZE_CHACHA},
	{"SINGLE_DH_USE", 0},
	{"SINGLE_ECDH_USE", 0},
	{"TLSEXT_PADDING", SSL_OP_TLSEXT_PADDING},
	{"TLS_ROLLBACK_BUG", SSL_OP_TLS_ROLLBACK_BUG},
};

static const struct option_name workarounds[] = {
	{"CRYPTOPRO_TLSEXT_BUG", SSL_OP_CRYPTOPRO_TLSEXT_BUG},
	{"CVE-2005-2969", 0},
	{"CVE-2010-4180", 0},
	{"DONT_INSERT_EMPTY_FRAGMENTS", 0},
	{"LEGACY_SERVER_CONNECT", 0},
	{"MICROSOFT_BIG_SSLV3_BUFFER", 0},
	{"MICROSOFT_SESS_ID_BUG", 0},
	{"MSIE_SSLV2_RSA_PADDING", 0},
	{"NETSCAPE_CHALLENGE_BUG", 0},
	{"NETSCAPE_REUSE_CIPHER_CHANGE_BUG", 0},
	{"SAFARI_ECDHE_ECDSA_BUG", SSL_OP_SAFARI_ECDHE_ECDSA_BUG},
	{"SSLEAY_080_CLIENT_DH_BUG", 0},
	{"SSLREF2_REUSE_CERT_TYPE_BUG", 0},
	{"TLSEXT_PADDING", SSL_OP_TLSEXT_PADDING},
	{"TLS_BLOCK_PADDING_BUG", 0},
	{"TLS_D5_BUG", 0},
};

/* Names, or a number that is the bits themselves. What is neither goes to `why`, a line each. */
static uint64_t parse_options(struct str list, const struct option_name *names, size_t count, struct str what, struct buf *why)
{
	uint64_t bits = 0;
	struct str name;

	while (str_next(&list, " \t\r\n,", &name)) {
		char *text = str_cstr(name), *end = text;
		size_t at = 0;

		while (at < count && !str_eq_nocase(name, str_of(names[at].name)))
			at++;
		if (at < count)
			bits |= names[at].bit;
		else if (str_starts_nocase(name, STR("0x")))
			bits |= strtoull(text, &end, 16);
		if (at == count && (end == text || *end))
			buf_addf(why, "%sunknown %.*s value \"%s\"", why->len ? "\n" : "", STR_ARG(what), text);
		free(text);
	}
	return bits;
}

void tls_options_use(SSL_CTX *ctx, const struct params *p, struct buf *why)
{
	uint64_t wanted = parse_options(p->tls_ssl_options, options, COUNT_OF(options), STR("tls_ssl_options"), why);
	uint64_t unwanted = parse_options(p->tls_disable_workarounds, workarounds, COUNT_OF(workarounds),
	                                  STR("tls_disable_workarounds"), why);
	/* Empty fragments stay on: they protect what still speaks TLSv1. */
	uint64_t helpful = SSL_OP_ALL & ~SSL_OP_DONT_INSERT_EMPTY_FRAGMENTS & ~unwanted;

	SSL_CTX_set_options(ctx, helpful | wanted);
}

static int read_settings(const struct params *p, bool is_default, struct buf *why)
{
	OPENSSL_INIT_SETTINGS *settings = OPENSSL_INIT_new();
	char *file = str_cstr(p->tls_config_file), *name = str_cstr(p->tls_config_name);
	int is_good;

	if (!is_default)
		OPENSSL_INIT_set_config_filename(settings, file);
	if (*name)
		OPENSSL_INIT_set_config_appname(settings, name);
	/* A file that the operator named has to be there and right; OpenSSL's own may be missing. */
	OPENSSL_INIT_set_config_file_flags(settings, is_default ? CONF_MFLAGS_IGNORE_MISSING_FILE | CONF_MFLAGS_DEFAULT_SECTION
	                                                        : CONF_MFLAGS_DEFAULT_SECTION);
	ERR_clear_error();
	is_good = OPENSSL_init_ssl(OPENSSL_INIT_LOAD_CONFIG, settings);
	if (!is_good) {
		unsigned long code = ERR_peek_error();

		buf_addf(why, "tls_config_file: OpenSSL cannot use %s%s%s: %s", is_default ? "its settings file" : file,
		         *name ? ", section " : "", name, code ? ERR_reason_error_string(code) : "not understood");
	}
	ERR_clear_error();
	OPENSSL_INIT_free(settings);
	free(file);
	free(name);
	return is_good ? 0 : -EINVAL;
}

int tls_library_begin(const struct params *p, struct buf *why)
{
	static enum { NOT_YET, GOOD, BAD } state;
	static char *complaint;
	bool is_default = str_eq(p->tls_config_file, STR("default"));
	int err = 0;

	if (state == BAD)
		buf_add(why, str_of(complaint));
	if (state != NOT_YET)
		return state == GOOD ? 0 : -EINVAL;
	if (str_eq(p->tls_config_file, STR("none"))) {
		if (!OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL))
			err = -EINVAL;
	} else if (!is_default && !str_starts(p->tls_config_file, STR("/"))) {
		buf_addf(why, "tls_config_file: \"%.*s\" is neither default nor none nor an absolute path",
		         STR_ARG(p->tls_config_file));
		err = -EINVAL;
	} else if (!is_default || p->tls_config_name.len) {
		err = read_settings(p, is_default, why);
	}
	state = err ? BAD : GOOD;
	if (err)
		complaint = str_cstr(buf_str(why));
	return err;
}
