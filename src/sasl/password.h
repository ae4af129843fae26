/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passwords of smtpd_sasl_builtin_maps: login name to a crypt(3) hash (yescrypt, SHA-512,
 * bcrypt ...), with or without Dovecot's "{SHA512-CRYPT}" in front. Only the lookup role opens them.
 */
#pragma once

#include "base/buf.h"
#include "base/str.h"
#include "sasl/server.h"

struct view;
struct password_store;

/* Opens the tables; needs the right to read them. */
[[nodiscard]] int password_store_new(const struct view *v, struct password_store **ret_store, struct buf *why);
void password_store_free(struct password_store *ps);
bool password_store_has_changed(const struct password_store *ps);

/*
 * SASL_OK, SASL_FAILED, or SASL_TRY_LATER when a table fails or the hash is none; `reason` then tells
 * the log. Hashes on a helper thread and waits for it. A name that does not exist takes as long as one that does.
 */
enum sasl_status password_check(struct password_store *ps, struct str username, struct str password, struct buf *reason) WAITS;
