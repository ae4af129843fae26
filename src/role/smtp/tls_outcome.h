/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one attempt at one host taught about TLS: which policy the host was held to, and what came of
 * it, in the terms of RFC 8460. Whoever opens a connection fills it in, for reports and for people.
 */
#pragma once

#include <stddef.h>

#include "base/buf.h"
#include "base/str.h"

/* Where the demands came from (RFC 8460, 4.2). What the operator wrote himself is TLS_POLICY_NONE. */
enum tls_policy_type { TLS_POLICY_NONE, TLS_POLICY_TLSA, TLS_POLICY_STS };

/* RFC 8460, 4.3. */
enum tls_result {
	TLS_RESULT_UNTRIED, /* it did not come to TLS: the host was not reached, or TLS is not wanted; no report counts it */
	TLS_RESULT_SUCCESS,
	TLS_RESULT_STARTTLS_NOT_SUPPORTED,
	TLS_RESULT_HOST_MISMATCH,
	TLS_RESULT_EXPIRED,
	TLS_RESULT_NOT_TRUSTED,
	TLS_RESULT_VALIDATION_FAILURE, /* anything else that went wrong */
	TLS_RESULT_TLSA_INVALID,
	TLS_RESULT_DNSSEC_INVALID,
	TLS_RESULT_DANE_REQUIRED,
	TLS_RESULT_STS_FETCH_ERROR,
	TLS_RESULT_STS_INVALID,
	TLS_RESULT_STS_WEBPKI_INVALID
};

/* All strings live as long as the delivery. */
struct tls_outcome {
	enum tls_policy_type type;
	struct str domain;         /* of the recipients, or the relay's: where `_smtp._tls` is asked */
	struct str policy_domain;  /* TLSA base domain, or the domain of the MTA-STS policy; else as `domain` */
	struct str policy_strings; /* one a line: "3 1 1 AB12..." of each TLSA record, or the lines of the MTA-STS policy */
	struct str mx_patterns;    /* of the MTA-STS policy, one a line */
	struct str mx_host;
	struct str mx_address; /* as text; empty when none was tried */
	struct str mx_hello;   /* what the server called itself */
	struct str our_address;
	enum tls_result result;
	struct str reason; /* for people; may be empty */
};

/* "certificate-host-mismatch"; "" for what is no failure. */
const char *tls_result_name(enum tls_result result);
/* Does it lie in what the host offers or is? Unless a handshake broke, that will be the same the next time. */
bool tls_result_is_refusal(enum tls_result result);
/* "tlsa", "sts", "no-policy-found". */
const char *tls_policy_type_name(enum tls_policy_type type);
