/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to a server: from connect to EHLO inside TLS, then ready for transactions.
 * Connections that are kept for the next message wait in a cache by transport and nexthop.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/list.h"
#include "net/ip.h"
#include "net/stream.h"
#include "net/tls_log.h"
#include "role/smtp/server_reply.h"
#include "role/smtp/smtp_settings.h"
#include "role/smtp/target.h"
#include "role/smtp/tls_outcome.h"
#include "role/smtp/verdict.h"

struct connection {
	struct stream *stream;
	const struct smtp_settings *settings;
	struct server_reply reply; /* the last one read */
	struct ehlo ehlo;
	char *auth;  /* mechanisms offered, where we may log in */
	char *host;  /* "mx.example.org" */
	char *peer;  /* "mx.example.org[192.0.2.1]" */
	char *relay; /* "mx.example.org[192.0.2.1]:25" */
	uint16_t port;
	unsigned use_count; /* transactions begun */
	bool knows_ehlo;    /* to be begun with EHLO rather than HELO, as far as the greeting tells */
	bool is_broken;     /* only good for closing */
	bool is_spent;      /* a transaction was left open: say QUIT instead of another MAIL */
	bool has_quit;      /* QUIT was said already */
	bool is_verified;   /* the server showed that it is who the policy asks for */
	bool is_logged_in;
	enum client_tls tls_level; /* that it was opened under */
	bool is_half_dane;
	struct tls_log tls_log;
	char traced_address[IP_TEXT_SIZE];
	struct instant opened_at;
	struct instant trust_ends; /* of the policy that it met */
	struct instant kept_until; /* in the cache */
	struct list link;
	char *key;
};

/* Whom to connect to and how. */
struct connection_wish {
	const struct smtp_settings *settings;
	const struct tls_policy *policy;
	const struct target *target; /* or NULL: */
	struct str path;             /* a local socket */
	struct str nexthop;          /* the one that is tried, for messages and credentials */
	struct str sender;           /* for credentials of its own */
	bool avoids_tls;             /* a handshake failed, and policy allows clear text */
	struct tls_outcome *outcome; /* is filled in */
};

/* 0 and a connection that has said EHLO, or -EHOSTUNREACH with a verdict, or -ECANCELED. */
[[nodiscard]] int connection_open(const struct connection_wish *wish, struct arena *a, struct connection **ret_connection,
                                  struct verdict *ret_verdict) WAITS;
/* Says QUIT, unless the connection is broken, and closes. NULL is fine. */
void connection_close(struct connection *c) WAITS;
/* Closes at once. */
void connection_free(struct connection *c);

/* Reads a reply; `phase` is for the verdict: "sending MAIL FROM". -EHOSTUNREACH, and the connection is broken. */
[[nodiscard]] int connection_read(struct connection *c, struct duration timeout, const char *phase, struct arena *a,
                                  struct verdict *ret_verdict) WAITS;
/* What a stream error in this phase means; the connection is broken afterwards. */
void connection_lost(struct connection *c, int err, const char *phase, struct arena *a, struct verdict *ret_verdict);
/* The verdict about the last reply: "host mx[a] said: 550 ... (in reply to RCPT TO command)". */
void connection_said(const struct connection *c, const char *command, struct arena *a, struct verdict *ret_verdict);

/* May it serve another message? */
bool connection_is_reusable(const struct connection *c);
/* Keeps it for the next message to `key`; frees it when it is good for nothing. */
void connection_keep(struct connection *c, struct str key);
/* One that was kept and still seems alive, or NULL. */
struct connection *connection_take(struct str key);
/* Notes that mail for `key` came. True when it comes so often that a connection is worth keeping open for the next one. */
bool connection_note_demand(struct str key);
/* Closes what is kept; who does not answer QUIT soon is left. For the end of the process. */
void connection_drop_kept(void) WAITS;
