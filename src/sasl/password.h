/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What smtpd_sasl_builtin_maps know of a login name. A value is one of
 *
 *	$6$salt$hash, {SHA512-CRYPT}$6$..., {CRYPT}...   a crypt(3) hash: yescrypt, SHA-512, bcrypt ...
 *	{SCRAM-SHA-256}iterations,salt,StoredKey,ServerKey, {SCRAM-SHA-1}...   as Dovecot and gsasl write them; the rest base64
 *	{PLAIN}password, {CLEARTEXT}password   the password itself
 *
 * A password can be checked against each of them; SCRAM needs one of the last two. Only the lookup role opens the tables.
 */
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "sasl/server.h"

struct view;
struct password_store;

enum secret_kind { SECRET_NONE, SECRET_CRYPT, SECRET_PLAIN, SECRET_SCRAM_SHA_1, SECRET_SCRAM_SHA_256 };

enum { SCRAM_KEY_MAX = 32, SCRAM_SALT_MAX = 64, SCRAM_ITERATIONS_MAX = 10000000, SECRET_TEXT_MAX = 1024 };

struct scram_keys {
	uint32_t iterations;
	size_t salt_size, key_size;
	unsigned char salt[SCRAM_SALT_MAX];
	unsigned char stored_key[SCRAM_KEY_MAX];
	unsigned char server_key[SCRAM_KEY_MAX];
};

struct secret {
	enum secret_kind kind;
	char text[SECRET_TEXT_MAX + 1]; /* the hash or the password */
	struct scram_keys scram;
};

/* Opens the tables; needs the right to read them. */
[[nodiscard]] int password_store_new(const struct view *v, struct password_store **ret_store, struct buf *why);
void password_store_free(struct password_store *ps);
bool password_store_has_changed(const struct password_store *ps);
/* No table at all. */
bool password_store_is_empty(const struct password_store *ps);
/* Can every entry take part in SCRAM with this kind? False as well for tables that cannot be walked, or are empty. */
bool password_store_is_fit_for(const struct password_store *ps, enum secret_kind kind);

/*
 * 0, -ENOENT, -EBADMSG for a value that is none of the above, or a table's error; *ret_secret is to be wiped.
 * A name with smtpd_sasl_local_domain is also looked up without it.
 */
[[nodiscard]] int password_find(struct password_store *ps, struct str username, struct secret *ret_secret, struct buf *reason);
/*
 * The keys of a name for SCRAM of this kind. Of a password in clear they are derived, on a helper thread; a name
 * that does not exist or has no such secret gets keys that nothing fits, with a salt that stays the same.
 */
struct scram_lookup {
	struct scram_keys keys; /* salt and iterations; once derived all of it */
	char password[SECRET_TEXT_MAX + 1];
	bool must_derive;
	bool is_known;
};
/* 0 also for a name that does not exist; a table's error. *ret_lookup is to be wiped. */
[[nodiscard]] int password_find_scram(struct password_store *ps, struct str username, enum secret_kind kind,
                                      struct scram_lookup *ret_lookup, struct buf *reason);

/*
 * SASL_OK, SASL_FAILED, or SASL_TRY_LATER when a table fails or the value is none; `reason` then tells
 * the log. Hashes on a helper thread and waits for it. A name that does not exist takes as long as one that does.
 */
enum sasl_status password_check(struct password_store *ps, struct str username, struct str password, struct buf *reason) WAITS;

/* Reads one value of the tables. -EBADMSG. */
[[nodiscard]] int secret_parse(struct str value, struct secret *ret_secret);
/* "{SCRAM-SHA-256}4096,...". */
void secret_format_scram(struct buf *to, enum secret_kind kind, const struct scram_keys *keys);
/*
 * StoredKey and ServerKey of a password; salt and iterations are set already (RFC 5802). Takes a while and is safe on a
 * helper thread.
 */
void scram_derive(enum secret_kind kind, struct str password, struct scram_keys *keys);
