/* SPDX-License-Identifier: Apache-2.0 */
/* What the mechanisms of smtpd_sasl_type = builtin share. */
#pragma once

#include "sasl/oauth.h"
#include "sasl/password.h"
#include "sasl/server_internal.h"

/* s->state of the builtin back end. */
struct builtin {
	struct password_store *store;
	struct oauth *oauth; /* NULL: takes no tokens */
	struct mechanism_list offered;
};

/* One mechanism; `step` also takes the initial response. x->state is its own. */
struct builtin_mechanism {
	const char *name;
	unsigned flags;
	enum secret_kind kind; /* SCRAM: what the tables must hold */
	bool must_be_named;    /* is offered only if smtpd_sasl_builtin_mechanisms says so */
	bool takes_token;      /* is offered where smtpd_sasl_oauth_* are set */
	void (*begin)(struct sasl_exchange *x, const struct builtin_mechanism *m);
	void (*step)(struct sasl_exchange *x, struct str response, struct sasl_result *ret) WAITS;
	void (*end)(struct sasl_exchange *x);
	const char *greeting; /* the first challenge; NULL when the client must begin (then it is an empty one) */
};

/* The mechanism of an exchange. */
const struct builtin_mechanism *builtin_mechanism(const struct sasl_exchange *x);
/* "user" becomes "user@$smtpd_sasl_local_domain". */
struct str builtin_full_name(struct sasl_exchange *x, struct str name);

/* builtin_password.c */
void login_begin(struct sasl_exchange *x, const struct builtin_mechanism *m);
void login_step(struct sasl_exchange *x, struct str response, struct sasl_result *ret) WAITS;
void login_end(struct sasl_exchange *x);
void plain_step(struct sasl_exchange *x, struct str response, struct sasl_result *ret) WAITS;

/* builtin_oauth.c: OAUTHBEARER, XOAUTH2 */
void oauth_begin(struct sasl_exchange *x, const struct builtin_mechanism *m);
void oauth_step(struct sasl_exchange *x, struct str response, struct sasl_result *ret) WAITS;
void oauth_end(struct sasl_exchange *x);

/* builtin_gsasl.c: SCRAM, CRAM-MD5, ANONYMOUS */
[[nodiscard]] int gsasl_open(struct buf *why);
void gsasl_begin(struct sasl_exchange *x, const struct builtin_mechanism *m);
void gsasl_answer(struct sasl_exchange *x, struct str response, struct sasl_result *ret) WAITS;
void gsasl_end(struct sasl_exchange *x);
