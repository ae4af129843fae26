/* SPDX-License-Identifier: Apache-2.0 */
/* The words of RFC 8460 for outcomes of TLS. */
#include "role/smtp/tls_outcome.h"

const char *tls_result_name(enum tls_result result)
{
	switch (result) {
	case TLS_RESULT_UNTRIED:
	case TLS_RESULT_SUCCESS:
		return "";
	case TLS_RESULT_STARTTLS_NOT_SUPPORTED:
		return "starttls-not-supported";
	case TLS_RESULT_HOST_MISMATCH:
		return "certificate-host-mismatch";
	case TLS_RESULT_EXPIRED:
		return "certificate-expired";
	case TLS_RESULT_NOT_TRUSTED:
		return "certificate-not-trusted";
	case TLS_RESULT_VALIDATION_FAILURE:
		return "validation-failure";
	case TLS_RESULT_TLSA_INVALID:
		return "tlsa-invalid";
	case TLS_RESULT_DNSSEC_INVALID:
		return "dnssec-invalid";
	case TLS_RESULT_DANE_REQUIRED:
		return "dane-required";
	case TLS_RESULT_STS_FETCH_ERROR:
		return "sts-policy-fetch-error";
	case TLS_RESULT_STS_INVALID:
		return "sts-policy-invalid";
	case TLS_RESULT_STS_WEBPKI_INVALID:
		return "sts-webpki-invalid";
	}
	return "validation-failure";
}

bool tls_result_is_refusal(enum tls_result result)
{
	switch (result) {
	case TLS_RESULT_STARTTLS_NOT_SUPPORTED:
	case TLS_RESULT_HOST_MISMATCH:
	case TLS_RESULT_EXPIRED:
	case TLS_RESULT_NOT_TRUSTED:
	case TLS_RESULT_VALIDATION_FAILURE:
	case TLS_RESULT_DANE_REQUIRED:
		return true;
	default:
		return false;
	}
}

const char *tls_policy_type_name(enum tls_policy_type type)
{
	return type == TLS_POLICY_TLSA ? "tlsa" : type == TLS_POLICY_STS ? "sts" : "no-policy-found";
}
