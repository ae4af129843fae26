/* SPDX-License-Identifier: Apache-2.0 */
/* Access tokens for smtpd_sasl_oauth_*: checked with keys that lie here, or by asking the server that gave them out (RFC 7662).
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "sasl/server.h"

struct view;
struct oauth;

/* *ret_oauth is NULL when nothing is configured. Reads keys and passwords: needs the right to. */
[[nodiscard]] int oauth_new(const struct view *v, struct oauth **ret_oauth, struct buf *why);
void oauth_free(struct oauth *o);
/* Has a file with keys or passwords changed? */
bool oauth_has_changed(const struct oauth *o);

/* SASL_OK and the user, SASL_FAILED, or SASL_TRY_LATER when the server cannot be asked; `reason` then tells the log. */
enum sasl_status oauth_check(struct oauth *o, struct str token, struct arena *a, struct str *ret_username,
                             struct buf *reason) WAITS;
/* What a client hears that was refused (RFC 7628, 3.2.2). */
void oauth_format_error(const struct oauth *o, struct buf *to);

/* --- introspection (introspect.c) --- */

struct introspection {
	struct str url;     /* https, or http to this machine */
	struct str login;   /* "id:secret" for the server, or empty */
	struct str ca_file; /* empty: the authorities of the system */
};

/* Before threads. */
[[nodiscard]] int introspect_open(void);
/* Is it an URL that can be asked? -EINVAL with the reason. */
[[nodiscard]] int introspect_check_url(struct str url, struct buf *why);
/* 0 and the JSON that the server gave, or an error with the reason: it could not be asked, or too many ask at once. */
[[nodiscard]] int introspect(const struct introspection *i, struct str token, struct buf *ret_json, struct buf *why) WAITS;
