/* SPDX-License-Identifier: Apache-2.0 */
/* One SMTP session, from the connection to its end: what the verbs know of it, and how they answer. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/list.h"
#include "mail/envelope.h"
#include "mail/smtp_command.h"
#include "net/ip.h"
#include "net/stream.h"
#include "net/tls_log.h"
#include "policy/policy.h"
#include "port.h"

struct content_note;
struct draft;

enum verb_id {
	VERB_HELO,
	VERB_EHLO,
	VERB_STARTTLS,
	VERB_AUTH,
	VERB_MAIL,
	VERB_RCPT,
	VERB_DATA,
	VERB_BDAT,
	VERB_RSET,
	VERB_NOOP,
	VERB_VRFY,
	VERB_ETRN,
	VERB_QUIT,
	VERB_XCLIENT,
	VERB_XFORWARD,
	VERB_HELP,
	VERB_UNKNOWN,
	VERB_COUNT,
};

/* Why the session is over. */
enum session_end { END_NOT_YET, END_QUIET, END_QUIT, END_LOST, END_TIMEOUT, END_ERRORS };

/* A message on its way in. */
struct transaction {
	bool has_mail; /* MAIL was accepted */
	struct arena arena;
	struct envelope envelope;
	struct recipient *recipients; /* room for recipient_size */
	size_t recipient_size;
	struct policy_action action;
	struct envelope as_given;  /* the envelope before the content, which may change it */
	struct draft *draft;       /* from DATA or the first BDAT on */
	bool is_bdat;              /* between BDAT and its LAST */
	struct reply bdat_failure; /* what stopped the message; more chunks are read away */
	uint64_t declared_size;
	size_t overshoot; /* recipients refused over the limit */
};

struct session {
	struct list link;
	struct port *port;
	struct stream *stream;
	struct arena arena;      /* for the session */
	struct arena helo_arena; /* until the next HELO */
	struct policy_session facts;
	struct transaction tx;
	struct str name;            /* "host[address]" for logs */
	struct client_slot *counts; /* in smtpd.clients; NULL when not counted */
	char address[IP_TEXT_SIZE], server_address[IP_TEXT_SIZE];
	char client_port[8], server_port[8];
	struct sockaddr_storage peer;
	unsigned discarded_keywords; /* enum ehlo_keyword */
	uint32_t seen[VERB_COUNT], good[VERB_COUNT];
	int64_t errors, junk;
	const char *where; /* the stage, for logs: "CONNECT", "EHLO", "DATA" */
	enum session_end end;
	struct envelope forwarded; /* what XFORWARD told of the client behind this one */
	bool has_forwarded;
	bool is_in_verb; /* a command is being served */
	bool is_failing; /* the last words after a failure are being said, and may fail themselves */
	bool has_bare_lf;
	bool is_bare_newline_exempt, is_limit_exempt;
	struct tls_log tls_log;
	struct str denied; /* the connection was refused: what every command hears */
};

/* Serves a client that has connected, to the end; frees everything. The descriptor is the session's. */
void session_run(struct port *port, int fd, const struct sockaddr_storage *peer) WAITS;
/* Draining: a session that is between messages ends at once, another one after its message. */
void session_ask_to_end(struct session *s);

/* Answers, in printf form and without CRLF: "250 2.1.0 Ok". Codes from 400 on count as errors. */
void session_say(struct session *s, const char *fmt, ...) WAITS PRINTF_LIKE(2, 3);
void session_say_reply(struct session *s, const struct reply *r) WAITS;
/* Logs and sends what a check answered. A final one ends the session. */
void session_reject(struct session *s, const char *stage, const struct reply *r) WAITS;
/* Writes the lines that the latest check asked for. */
void session_log_notes(struct session *s, const char *stage, const struct policy_action *act);
void session_log_content(struct session *s, const struct content_note *notes);
void session_log(struct session *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
void session_warn(struct session *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The queue id, or "NOQUEUE". */
const char *session_queue_id(const struct session *s);
/* A read or write failed: notes the end that belongs to `err`. */
void session_failed(struct session *s, int err);
/* Forgets the transaction. */
void session_reset(struct session *s);
/* After XCLIENT: names the client anew and greets it as if it had just come. */
void session_begin_again(struct session *s) WAITS;
bool session_offers_tls(const struct session *s);
/* Inside TLS only (RFC 8689). */
bool session_offers_requiretls(const struct session *s);
/* Does STARTTLS have to come before anything else? */
bool session_needs_tls(const struct session *s);
/* Did the client speak on where it had to wait? Logs it, and ends the session where that is forbidden. */
bool session_spoke_early(struct session *s, const char *stage);
