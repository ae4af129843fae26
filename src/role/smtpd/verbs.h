/* SPDX-License-Identifier: Apache-2.0 */
/* The commands: one function a verb, chosen by a table. */
#pragma once

#include "session.h"

typedef void verb_fn(struct session *s, struct str argument);

enum verb_flag {
	VERB_LAST = 1,       /* the client must wait for the answer before it says more */
	VERB_BEFORE_TLS = 2, /* allowed where TLS is demanded and not yet there */
	VERB_JUNK = 4,       /* counts for smtpd_junk_command_limit */
	VERB_DENIED = 8,     /* allowed when the connection was refused */
};

struct verb {
	struct str name;
	const char *stage; /* as logs show it */
	verb_fn *run;
	unsigned flags;
};

/* VERB_UNKNOWN's entry when there is no such verb. */
enum verb_id verb_find(struct str name);
const struct verb *verb_of(enum verb_id id);
const char *verb_count_name(enum verb_id id);

verb_fn verb_helo, verb_ehlo, verb_starttls, verb_auth, verb_mail, verb_rcpt, verb_data, verb_bdat, verb_rset, verb_noop,
	verb_vrfy, verb_etrn, verb_quit, verb_help, verb_xclient, verb_xforward, verb_unknown;

/* What has a meaning in a header, beside names. */
#define NAME_UNWANTED " <>()\\\";@"
/* A name that a client gave; what would have a meaning in a header or a log line becomes '?'. */
struct str harmless_name(struct arena *a, struct str name);

/* What a login back end may know of the session. */
struct sasl_peer;
void auth_peer(struct session *s, struct arena *a, struct sasl_peer *ret_peer);

/* For wrapper mode: the handshake before the greeting. False when the session is over. */
bool starttls_handshake(struct session *s) WAITS;
