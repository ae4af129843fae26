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
	LIST_CLIENT, LIST_HELO, LIST_SENDER, LIST_RELAY, LIST_RECIPIENT, LIST_DATA, LIST_END_OF_DATA, LIST_ETRN, LIST_COUNT,
};

/* What the engine may know of a session; smtpd and explain fill it. Empty strings are "not yet". */
struct policy_session {
	struct str client_name;         /* verified, or "unknown" */
	struct str client_reverse_name; /* PTR, or "unknown" */
	struct str client_address;      /* "192.0.2.1", "2001:db8::1" */
	struct str client_port;
	struct str helo;
	bool is_esmtp;
	struct str sender;              /* internal form, rewritten; has_sender tells <> from "not yet" */
	bool has_sender;
	struct str recipient;           /* internal form, rewritten; empty outside RCPT */
	struct str recipient_raw;       /* as the client wrote it, for logs and replies */
	struct str sender_raw;
	uint32_t recipient_count;       /* accepted so far */
	uint64_t size;                  /* declared, or real at end of data */
	struct str sasl_method, sasl_username, sasl_sender;
	bool has_tls;
	struct str tls_protocol, tls_cipher;
	bool is_ccert_trusted;
	struct str ccert_fingerprint;
	bool has_bad_pipelining;        /* talked ahead of time */
	struct str queue_id, instance, server_address, server_port;
	/* Outcomes that outlive one list. */
	bool is_defer_if_permit_sender; /* see rule 5 of the restriction language */
	struct arena *arena;            /* of the transaction */
};

/* What the message shall have done to it. */
struct policy_action {
	bool is_held, is_discarded;
	struct str filter, redirect;
	struct str *prepends;
	size_t prepend_count;
	struct str *bccs;
	size_t bcc_count;
};

/* One rule that was asked, for explain and for the trace at -v. */
struct policy_step {
	enum policy_list list;
	struct str rule;        /* as written, with its argument */
	struct str file;        /* origin of the list */
	unsigned line;
	struct str answer;      /* "permit", "dunno", "reject: 554 5.7.1 ...", with the reason */
};
typedef void policy_record_fn(void *arg, const struct policy_step *step);

/*
 * Parses all eight lists and opens their tables. Fails on what cannot work; refuses an open relay
 * (no reject_unauth_destination or the like) with the words an operator needs.
 */
[[nodiscard]] int policy_new(const struct view *v, struct router *r, struct policy **ret_policy, struct buf *why);
void policy_free(struct policy *p);
bool policy_has_changed(const struct policy *p);
void policy_set_record(struct policy *p, policy_record_fn *fn, void *arg);

/*
 * The checks of one SMTP stage; which lists run follows smtpd_delay_reject. Answers reply.code 0 for
 * "go on". Log lines that actions ask for (warn, info, hold ...) go through `log`. May wait (DNS, policy servers).
 */
struct reply policy_check_connect(struct policy *p, struct policy_session *s, struct policy_action *act) WAITS;
struct reply policy_check_helo(struct policy *p, struct policy_session *s, struct policy_action *act) WAITS;
struct reply policy_check_mail(struct policy *p, struct policy_session *s, struct policy_action *act) WAITS;
struct reply policy_check_rcpt(struct policy *p, struct policy_session *s, struct policy_action *act) WAITS;
struct reply policy_check_data(struct policy *p, struct policy_session *s, struct policy_action *act) WAITS;
struct reply policy_check_end_of_data(struct policy *p, struct policy_session *s, struct policy_action *act) WAITS;
struct reply policy_check_vrfy(struct policy *p, struct policy_session *s, struct policy_action *act) WAITS;
struct reply policy_check_etrn(struct policy *p, struct policy_session *s, struct str domain, struct policy_action *act) WAITS;
