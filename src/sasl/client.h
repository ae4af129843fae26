/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logging in to a server (RFC 4954): which mechanism, and what to say in it. Pure: challenges
 * in, responses out, both without base64. Passwords go through libgsasl (PLAIN, LOGIN, CRAM-MD5,
 * SCRAM), access tokens through OAUTHBEARER (RFC 7628) and XOAUTH2.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

struct match_list;
struct sasl_client;

/* What a mechanism must have to be used; bits. */
enum sasl_demand {
	SASL_NO_PLAINTEXT = 1,
	SASL_NO_ACTIVE = 2,
	SASL_NO_DICTIONARY = 4,
	SASL_NO_ANONYMOUS = 8,
	SASL_FORWARD_SECRECY = 16,
	SASL_MUTUAL_AUTH = 32,
};

/* Reads "noplaintext, noanonymous". -EINVAL with the word that is none of them. */
[[nodiscard]] int sasl_demands_parse(struct str list, unsigned *ret_demands, struct buf *why);

/* Who logs in, where. */
struct sasl_login {
	struct str user;
	struct str secret; /* a password or, with is_token, an access token */
	bool is_token;
	bool names_twice; /* says as well for whom it acts: for itself */
	struct str host;  /* the server's name */
	struct str port;
	struct str binding; /* what ties the login to the TLS connection; empty without TLS */
	bool is_exporter;   /* it is a tls-exporter (RFC 9266), not tls-unique */
};

/* The best mechanism that the server offers, filter (or NULL) and demands allow and the login is good for; empty for none. */
struct str sasl_client_choose(struct str offered, struct match_list *filter, unsigned demands, const struct sasl_login *login);
/* A login by a mechanism of sasl_client_choose(). -EINVAL when the name or the password cannot be used with it. */
[[nodiscard]] int sasl_client_new(struct str mechanism, const struct sasl_login *login, struct sasl_client **ret_client);
/* Does it speak first, so that its first response may travel with AUTH? Its first challenge is empty then. */
bool sasl_client_is_first(const struct sasl_client *c);
/*
 * Appends the response to a challenge. -EPROTO when the server says what it should not; `why` tells. It may take seconds, as
 * long as the server wants: on a fiber it is work for a helper thread.
 */
[[nodiscard]] int sasl_client_step(struct sasl_client *c, struct str challenge, struct buf *response, const char **why);
/* Is it a mechanism in which the server proves that it knows the password? */
bool sasl_client_has_proof(const struct sasl_client *c);
/* Has all been said, and did the server prove what its mechanism lets it prove? Success before that is none. */
bool sasl_client_is_done(const struct sasl_client *c);
/* Wipes secrets. NULL is fine. */
void sasl_client_free(struct sasl_client *c);
