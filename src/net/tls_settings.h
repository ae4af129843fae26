/* SPDX-License-Identifier: Apache-2.0 */
/* What a TLS context needs to know, picked from the parameters of the server or of a client; and its parts as values. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"

struct tls_files;
struct view;

struct tls_settings {
	const char *prefix;            /* of the parameters, for messages: "smtpd_tls_" */
	const struct tls_files *files; /* opened by somebody with more rights; may be NULL */
	struct str chain_files;
	struct str cert_file[3]; /* RSA, ECDSA, DSA; "none" in the first allows anonymous ciphers alone */
	struct str key_file[3];
	struct str ca_file;
	struct str ca_path;
	struct str anchor_files; /* trusted in place of the authorities */
	struct str protocols;
	struct str grade; /* of the ciphers */
	struct str exclude[3];
	struct str dh_file;
	struct str digest; /* of fingerprints */
	int64_t verify_depth;
	struct duration session_time; /* 0: no tickets */
	bool asks_certificate;
	bool trusts_server_certificates; /* of clients */
	bool is_server;
	bool is_mandatory;
};

void tls_settings_server(struct tls_settings *to, const struct view *v);
void tls_settings_client(struct tls_settings *to, const struct view *v, bool is_mandatory);

/*
 * The versions that a protocol list does not allow, as OpenSSL's options (SSL_OP_NO_TLSv1_1 ...). Takes
 * ">=TLSv1.2, <=TLSv1.3" and "!SSLv2, !SSLv3" alike. -EINVAL with the reason.
 */
[[nodiscard]] int tls_protocols_parse(struct str list, uint64_t *ret_off, struct buf *why);
/* What a policy says about ciphers where it differs from the parameters. */
struct tls_cipher_wish {
	bool is_mandatory;
	bool is_authenticated; /* anonymous ciphers are out */
	bool has_exclude;      /* in place of what the parameters exclude */
	struct str exclude;
	struct str grade; /* empty: as the parameters say */
};

/* The OpenSSL cipher list of a client. -EINVAL for an unknown grade. */
[[nodiscard]] int tls_client_ciphers(struct buf *to, const struct tls_cipher_wish *wish, const struct view *v);
/* The OpenSSL cipher list for a grade without the excluded ones. -EINVAL for an unknown grade. */
[[nodiscard]] int tls_ciphers_format(struct buf *to, const struct tls_settings *s, const struct view *v);
