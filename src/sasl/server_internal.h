/* SPDX-License-Identifier: Apache-2.0 */
/* What the back ends of sasl/ share: a back end is a struct of functions, picked by smtpd_sasl_type. */
#pragma once

#include "base/base.h"
#include "config/config.h"
#include "config/params.h"
#include "sasl/server.h"
#include "table/table.h"

enum mechanism_flag {
	MECHANISM_PLAINTEXT = 1,
	MECHANISM_ANONYMOUS = 2,
	MECHANISM_DICTIONARY = 4,
	MECHANISM_ACTIVE = 8,
	MECHANISM_FORWARD_SECRECY = 16,
	MECHANISM_MUTUAL_AUTH = 32,
	MECHANISM_PRIVATE = 64,
	MECHANISM_BINDING = 128, /* only inside TLS that gives a channel binding */
};

enum { MECHANISMS_MAX = 50, MECHANISM_NAME_MAX = 40 };

struct mechanism {
	char name[MECHANISM_NAME_MAX + 1]; /* in capitals */
	unsigned flags;
};

struct mechanism_list {
	struct mechanism items[MECHANISMS_MAX];
	size_t count;
};

/* Flags that a mechanism must not have, and those it must. */
struct security {
	unsigned forbidden, required;
};

struct sasl_backend {
	const char *type;
	/* `ret_state` is the back end's own, given to the others as s->state. */
	int (*open)(struct sasl_server *s, struct buf *why);
	void (*close)(struct sasl_server *s);
	/* What it can do. NULL and a reason when it cannot tell now. */
	const struct mechanism_list *(*mechanisms)(struct sasl_server *s, const char **ret_why)WAITS;
	/* An empty initial response is not an absent one. */
	void (*begin)(struct sasl_exchange *x, struct str initial, struct sasl_result *ret) WAITS;
	void (*step)(struct sasl_exchange *x, struct str response, struct sasl_result *ret) WAITS;
	/* Releases x->state. */
	void (*end)(struct sasl_exchange *x);
	/* How a mechanism that is not offered is refused; NULL: in the usual words. */
	const char *unknown_mechanism;
	/* Has a table changed? NULL: there is none. */
	bool (*has_changed)(const struct sasl_server *s);
};

struct sasl_server {
	const struct view *view;
	const struct params *params;
	const struct sasl_backend *backend;
	void *state;
	struct str service; /* "name/type", for lookup */
	struct security clear, tls;
	struct match_list *exceptions; /* smtpd_sasl_exceptions_networks */
	struct match_list *filter;     /* smtpd_sasl_mechanism_filter */
	struct sasl_remote *remote;    /* of the back ends in lookup; NULL in tools */
	size_t exchange_count;
	bool is_down; /* the back end did not tell its mechanisms when last asked */
	struct arena arena;
};

struct sasl_exchange {
	struct sasl_server *server;
	struct sasl_peer peer; /* strings in the arena */
	struct str method;
	void *state;
	struct arena arena;
	struct buf decoded; /* secrets: wiped */
};

extern const struct sasl_backend sasl_backend_builtin, sasl_backend_cyrus;               /* in lookup */
extern const struct sasl_backend sasl_backend_dovecot;                                   /* in smtpd */
extern const struct sasl_backend sasl_backend_builtin_remote, sasl_backend_cyrus_remote; /* in smtpd: ask lookup */

/* Sets status and reason; the reason is copied into the exchange. */
void sasl_result_set(struct sasl_exchange *x, struct sasl_result *ret, enum sasl_status status, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
/* Decodes into x->decoded, after wiping it. -EINVAL. */
[[nodiscard]] int sasl_decode(struct sasl_exchange *x, struct str base64);
void sasl_wipe(struct buf *b);
void sasl_wipe_str(struct str s);
/* SASL_CONTINUE with this challenge, not yet in base64. */
void sasl_challenge(struct sasl_exchange *x, struct sasl_result *ret, struct str text);
/* May this peer use the mechanism, as sasl_exchange_begin() would judge? */
bool sasl_is_usable(struct sasl_server *s, const struct sasl_peer *peer, struct str name) WAITS;
/* Reads what sasl_server_list() wrote. */
void mechanism_list_parse(struct mechanism_list *list, struct str text);
/* Adds one if there is room and the name is one. */
void mechanism_add(struct mechanism_list *list, struct str name, unsigned flags);
