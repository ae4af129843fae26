/* SPDX-License-Identifier: Apache-2.0 */
/* What a TLS context needs to know, picked from the parameters of the server or of a client; and its parts as values. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"

struct view;

struct tls_settings {
	const char *prefix; /* of the parameters, for messages: "smtpd_tls_" */
	struct str chain_files;
	struct str cert_file[3]; /* RSA, ECDSA, DSA; "none" in the first allows anonymous ciphers alone */
	struct str key_file[3];
	struct str ca_file;
	struct str ca_path;
	struct str protocols;
	struct str grade; /* of the ciphers */
	struct str exclude[3];
	struct str dh_file;
	int64_t verify_depth;
	struct duration session_time; /* 0: no tickets */
	bool asks_certificate;
	bool requires_certificate;
	bool is_server;
	bool is_mandatory;
};

void tls_settings_server(struct tls_settings *to, const struct view *v);
void tls_settings_client(struct tls_settings *to, const struct view *v, bool is_mandatory);

/*
 * The versions that a protocol list allows, as OpenSSL numbers (0x0303 is TLSv1.2); *ret_max 0 means no upper
 * limit. Takes ">=TLSv1.2, <=TLSv1.3" and "!SSLv2, !SSLv3" alike. -EINVAL with the reason.
 */
[[nodiscard]] int tls_protocols_parse(struct str list, int *ret_min, int *ret_max, struct buf *why);
/* The OpenSSL cipher list for a grade without the excluded ones. -EINVAL for an unknown grade. */
[[nodiscard]] int tls_ciphers_format(struct buf *to, const struct tls_settings *s, const struct view *v);
