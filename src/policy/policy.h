/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The restriction engine: smtpd_*_restrictions parsed once a view, run for a session,
 * recorded when someone wants to know why. `postrider explain` and smtpd call the same code.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "mail/reply.h"

struct view;
struct router;
struct policy;

enum policy_list {
	LIST_CLIENT,
	LIST_HELO,
	LIST_SENDER,
	LIST_RELAY,
	LIST_RECIPIENT,
	LIST_DATA,
	LIST_END_OF_DATA,
	LIST_ETRN,
	LIST_COUNT,
};

/* A 4xx that a stage put by: RCPT answers it when the lists would let the recipient in. */
struct policy_deferral {
	bool is_armed;
	struct reply reply;
};

/*
 * What the engine may know of a session; smtpd and explain fill it. Empty strings are "not yet".
 * Addresses are in internal form; `sender` and `recipient` rewritten by router_rewrite(), the raw
 * ones as the client wrote them (without <>), for replies and logs.
 */
struct policy_session {
	struct str client_name;         /* verified, or "unknown" */
	struct str client_reverse_name; /* PTR, or "unknown" */
	struct str client_address;      /* "192.0.2.1", "2001:db8::1" */
	struct str client_port;
	bool is_client_name_tempfail; /* "unknown" only because DNS did not answer */
	bool is_reverse_name_tempfail;
	struct str helo;
	bool is_esmtp;
	struct str sender, sender_raw;
	bool has_sender;      /* tells <> from "not yet" */
	struct str recipient; /* in RCPT and VRFY; at DATA and later only if there is exactly one, else empty */
	struct str recipient_raw;
	uint32_t recipient_count; /* accepted so far */
	uint64_t size;            /* declared, or real at end of data */
	struct str sasl_method, sasl_username, sasl_sender;
	bool has_tls;
	struct str tls_protocol, tls_cipher, tls_sni;
	int tls_cipher_bits;
	bool is_ccert_trusted;
	struct str ccert_subject, ccert_issuer, ccert_fingerprint, ccert_pubkey_fingerprint;
	bool has_bad_pipelining; /* talked ahead of time */
	struct str queue_id, instance, server_address, server_port, etrn_domain;
	/* The engine's own notes between stages; smtpd clears them with {0} at the stage that each names. */
	struct policy_deferral connect_deferral, helo_deferral, mail_deferral;
	/*
	 * Where replies and notes are put. For connect and HELO it must live as long as the
	 * session, because deferrals keep their texts; later the transaction's will do.
	 */
	struct arena *arena;
};

/* A line for the log that a check asks for. */
enum policy_note_kind {
	NOTE_ACTION,  /* "QID: WORD: STAGE from NAMADDR: TEXT; from=<> to=<> ...", as a reject is logged */
	NOTE_INFO,    /* "TEXT" or "QID: TEXT" */
	NOTE_WARNING, /* "warning: TEXT" */
};

struct policy_note {
	enum policy_note_kind kind;
	struct str word; /* of NOTE_ACTION: hold, discard, filter, redirect, bcc, warn, info, permit, reject_warning ... */
	struct str text;
	struct policy_note *next;
};

/* What the message shall have done to it; one a transaction, zeroed at its start. In each call's arena. */
struct policy_action {
	bool is_held, is_discarded;
	bool is_hangup;              /* drop the connection without a reply */
	struct str filter, redirect; /* the last one wins */
	struct str *prepends;        /* "Name: value", in this order */
	size_t prepend_count;
	struct str *bccs;
	size_t bcc_count;
	/* The lines of the latest check alone, oldest first. */
	struct policy_note *notes, *last_note;
};

/* One rule that was asked, for explain and for the trace at -v. */
struct policy_step {
	enum policy_list list;
	unsigned depth;  /* 0 in the list itself, 1 in a restriction class or a table's result ... */
	struct str rule; /* as written, with its argument */
	struct str file; /* origin of the list; empty for a default */
	unsigned line;
	struct str answer; /* "permit", "dunno", "reject: 554 5.7.1 ..." */
	struct str reason; /* what was looked up and found; may be empty */
};
/* Called when a rule has answered; a class or list result comes after the rules inside it. Strings live as long as the call. */
typedef void policy_record_fn(void *arg, const struct policy_step *step);

/*
 * Parses all eight lists and opens their tables. Fails on what cannot work; refuses an open relay
 * (no reject_unauth_destination or the like) with the words an operator needs.
 */
[[nodiscard]] int policy_new(const struct view *v, struct router *r, struct policy **ret_policy, struct buf *why);
void policy_free(struct policy *p);
/* "smtpd_client_restrictions" ... */
const char *policy_list_parameter(enum policy_list list);
/* What the operator should know although it works: rules behind `permit` and the like. NULL past the end. */
const char *policy_warning(const struct policy *p, size_t at);
bool policy_has_changed(const struct policy *p);
void policy_set_record(struct policy *p, policy_record_fn *fn, void *arg);

/*
 * The checks of one SMTP stage; which lists run follows smtpd_delay_reject. Answers reply.code 0 for
 * "go on". Log lines that were asked for (warn, info, hold, reject_warning ...) are in act->notes. smtpd
 * logs the reject itself. May wait (DNS, policy servers, sleep). Many sessions may be inside at once.
 */
struct reply policy_check_connect(struct policy *p, struct policy_session *s, struct policy_action *act) WAITS;
struct reply policy_check_helo(struct policy *p, struct policy_session *s, struct policy_action *act) WAITS;
struct reply policy_check_mail(struct policy *p, struct policy_session *s, struct policy_action *act) WAITS;
struct reply policy_check_rcpt(struct policy *p, struct policy_session *s, struct policy_action *act) WAITS;
struct reply policy_check_data(struct policy *p, struct policy_session *s, struct policy_action *act) WAITS;
struct reply policy_check_end_of_data(struct policy *p, struct policy_session *s, struct policy_action *act) WAITS;
struct reply policy_check_vrfy(struct policy *p, struct policy_session *s, struct policy_action *act) WAITS;
struct reply policy_check_etrn(struct policy *p, struct policy_session *s, struct str domain, struct policy_action *act) WAITS;
