/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The envelope of a message: everything that belongs to it but the content. It is
 * stored in front of the content in the spool and travels whole between roles.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"

enum { QUEUE_ID_SIZE = 24 }; /* with the NUL */

/* RFC 3461 NOTIFY, as bits; 0 when the client said nothing. */
enum dsn_notify { NOTIFY_NEVER = 1, NOTIFY_SUCCESS = 2, NOTIFY_FAILURE = 4, NOTIFY_DELAY = 8 };
enum dsn_ret { RET_NONE, RET_FULL, RET_HDRS };

enum envelope_flag {
	ENVELOPE_SMTPUTF8 = 1,       /* MAIL ... SMTPUTF8 */
	ENVELOPE_8BITMIME = 2,       /* MAIL ... BODY=8BITMIME */
	ENVELOPE_HOLD = 4,           /* goes to the hold queue */
	ENVELOPE_NO_BOUNCE = 8,      /* made by us: a failure is not reported again */
	ENVELOPE_REQUIRETLS = 16,    /* RFC 8689 */
	ENVELOPE_VERIFY_ONLY = 32,   /* sendmail -bv: report, do not deliver */
	ENVELOPE_TRACE = 64,         /* sendmail -v: report what happened */
	ENVELOPE_INTERNAL = 128,     /* bounces, notices, forwarded mail */
	ENVELOPE_TLS_OPTIONAL = 256, /* RFC 8689, "TLS-Required: no" */
};

/* Addresses are in internal form: no angle brackets, local part unquoted. */
struct recipient {
	struct str address;
	struct str original; /* before virtual aliases and the like; empty when the same */
	struct str orcpt;    /* "type;address", decoded; empty when the client gave none */
	uint8_t notify;      /* enum dsn_notify */
};

struct envelope {
	char queue_id[QUEUE_ID_SIZE];
	struct wall_time arrival;
	struct str sender; /* empty for the null sender */
	struct recipient *recipients;
	uint32_t recipient_count;
	uint32_t flags;         /* enum envelope_flag */
	uint8_t ret;            /* enum dsn_ret */
	struct str envid;       /* DSN ENVID, decoded */
	struct str filter;      /* transport:nexthop of content_filter or FILTER; empty for none */
	struct str client_name; /* the session, for logs, XFORWARD and commands; empty for local mail */
	struct str client_address;
	struct str client_port;
	struct str helo;
	struct str protocol; /* SMTP, ESMTP, LMTP */
	struct str sasl_method;
	struct str sasl_username;
	struct str sasl_sender;
	struct str service;    /* name of the receiving service in master.cf */
	struct str message_id; /* with brackets, for references in bounces; may be empty */
	uint64_t content_size; /* bytes of content in the spool */
};

/* Appends the encoded envelope. */
void envelope_encode(struct buf *to, const struct envelope *e);
/*
 * Reads what envelope_encode() wrote. Strings point into `bytes`, the recipients lie in
 * the arena. Fails with -EBADMSG on anything else, whatever the bytes.
 */
[[nodiscard]] int envelope_decode(struct str bytes, struct arena *a, struct envelope *ret_envelope);
/* A copy that owns nothing of the original: everything in the arena. */
void envelope_copy(struct envelope *to, const struct envelope *from, struct arena *a);
