/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Authentication of clients (AUTH, RFC 4954). One struct sasl_server a view, made from
 * smtpd_sasl_*; one struct sasl_exchange while an AUTH dialogue runs.
 *
 * Base64 is done in here: responses come in as the client sent them, challenges go out
 * ready for a "334 " line. The caller reads the lines, with smtpd_sasl_response_limit.
 * A reply that belongs to each outcome, as Postfix words it:
 *
 *	SASL_OK         235 2.7.0 Authentication successful
 *	SASL_CONTINUE   334 CHALLENGE
 *	SASL_FAILED     535 5.7.8 Error: authentication failed: REASON
 *	SASL_TRY_LATER  454 4.7.0 Temporary authentication failure: REASON
 *	SASL_MALFORMED  535 as well: the client broke the protocol
 *	SASL_ABORTED    501 5.7.0 Authentication aborted
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

struct view;
struct sasl_server;
struct sasl_exchange;

/* What a back end may know of the connection. Addresses as text, the channel binding (RFC 5929, 9266) as bytes. */
struct sasl_peer {
	bool has_tls;
	struct str binding; /* tls-exporter, or tls-unique; empty where there is none */
	bool is_exporter;
	struct str client_address;
	struct str client_port;
	struct str server_address;
	struct str server_port;
};

enum sasl_status { SASL_OK, SASL_CONTINUE, SASL_FAILED, SASL_TRY_LATER, SASL_MALFORMED, SASL_ABORTED };

struct sasl_result {
	enum sasl_status status;
	struct str challenge; /* base64, of SASL_CONTINUE; may be empty */
	struct str username;  /* of SASL_OK, and of failures where it is known, for the log */
	struct str method;    /* the mechanism in capitals */
	struct str reason;    /* of the failures, for client and log; never holds what the client sent */
	struct str detail;    /* for the log alone: what failed on our side; may be empty */
};

/* The back ends a process has, NULL behind the last one. */
struct sasl_backend;
/* smtpd: dovecot, and those that it asks lookup for (remote.h). */
extern const struct sasl_backend *const sasl_smtpd_backends[];
/* lookup: builtin and cyrus themselves; in a library of their own, with what they need. */
extern const struct sasl_backend *const sasl_lookup_backends[];
/* Tools: every back end itself. */
extern const struct sasl_backend *const sasl_all_backends[];

/*
 * Reads the smtpd_sasl_* parameters. With smtpd_sasl_auth_enable = no the result offers nothing.
 * Does not connect yet. Fails on an unknown smtpd_sasl_type or option, with words for the operator.
 */
[[nodiscard]] int sasl_server_new(const struct view *v, const struct sasl_backend *const *backends,
                                  struct sasl_server **ret_server, struct buf *why);
/* All exchanges must have been freed. */
void sasl_server_free(struct sasl_server *s);
/* Has something changed that was read at the start? The process must then begin anew. */
bool sasl_server_has_changed(const struct sasl_server *s);
/* "NAME FLAGS NAME FLAGS": what the back end itself can do; empty and a reason when it cannot tell. */
void sasl_server_list(struct sasl_server *s, struct buf *to, const char **ret_why) WAITS;

/*
 * The mechanisms to offer, parted by one blank; empty means: do not offer AUTH, and *ret_why says
 * why in a few words (a static text: "smtpd_tls_auth_only and no TLS"). Heeds smtpd_sasl_auth_enable, smtpd_tls_auth_only, the
 * security options, exceptions_networks and mechanism_filter. Waits when the back end has not told its mechanisms yet.
 */
struct str sasl_server_mechanisms(struct sasl_server *s, const struct sasl_peer *peer, struct arena *a,
                                  const char **ret_why) WAITS;
/* Right after sasl_server_mechanisms(): is AUTH not offered because the back end does not answer? */
bool sasl_server_is_down(const struct sasl_server *s);

/*
 * Starts an AUTH dialogue. `initial` is what followed the mechanism, as on the wire ("=" is an
 * empty response), or absent ({NULL, 0}) when nothing did. Strings of the result live as long as
 * the exchange. After anything but SASL_CONTINUE only sasl_exchange_free() is left to call. Waits;
 * a cancelled fiber gets SASL_TRY_LATER.
 */
struct sasl_exchange *sasl_exchange_begin(struct sasl_server *s, const struct sasl_peer *peer, struct str mechanism,
                                          struct str initial, struct sasl_result *ret_result) WAITS;
/* The client's next line; "*" cancels. */
void sasl_exchange_step(struct sasl_exchange *x, struct str response, struct sasl_result *ret_result) WAITS;
/* At any moment; nothing is left behind, secrets are wiped. NULL is fine. */
void sasl_exchange_free(struct sasl_exchange *x);
