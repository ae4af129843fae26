/* SPDX-License-Identifier: Apache-2.0 */
/* What is demanded of TLS for one nexthop: from smtp_tls_policy_maps, else from the parameters. */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/base.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "role/smtp/tls_outcome.h"

struct smtp_settings;
struct dane;

/* In the order of their strength. */
enum client_tls {
	CLIENT_TLS_NONE,
	CLIENT_TLS_MAY,
	CLIENT_TLS_ENCRYPT,
	CLIENT_TLS_FINGERPRINT,
	CLIENT_TLS_DANE,
	CLIENT_TLS_DANE_ONLY,
	CLIENT_TLS_VERIFY,
	CLIENT_TLS_SECURE
};

struct tls_policy {
	enum client_tls level;
	struct str match;     /* names parted by blanks, commas and colons; at level fingerprint by blanks, commas and bars */
	struct str ciphers;   /* the grade; empty: as the parameters say */
	struct str protocols; /* the list; empty: as the parameters say */
	struct str exclude;
	struct str anchor_files; /* trusted in place of the authorities */
	struct str servername;   /* for SNI: a name, "hostname", "nexthop", or empty */
	bool has_exclude;
	bool is_never_kept; /* a connection serves one message */
	bool is_from_table; /* smtp_tls_policy_maps had it */

	/* Where the demands came from, and what else is known of that policy; see sts_policy.h. */
	enum tls_policy_type type;
	bool has_type;
	bool is_sts_test;          /* an MTA-STS policy that is to be looked at, not obeyed */
	bool enforces_patterns;    /* hosts that no pattern names are not used */
	struct str mx_patterns;    /* one a line */
	struct str policy_strings; /* one a line */
	struct str policy_domain;
	struct str policy_failure; /* RFC 8460, 4.3: it could not be found, and why */
	struct str policy_ttl;

	struct str domain; /* the nexthop without brackets and port */
	/* Level dane: what hosts are held to that have no TLSA records. NULL: whatever they offer. */
	const struct tls_policy *without_dane;
	/* NULL where the host has no TLSA records; levels dane and dane-only turn into another by them. */
	const struct dane *dane;
	struct instant trust_ends; /* what the DNS told may be otherwise from then on; 0: it told nothing */
	struct str key;            /* connections with the same key have met the same demands */
};

const char *tls_level_name(enum client_tls level);
/* "may", "dane-only". -EINVAL for others. */
[[nodiscard]] int tls_level_parse(struct str word, enum client_tls *ret_level);
/* "level name=value { name = value } ...", as a table has it. -EINVAL with the reason; nothing bad is passed over. */
[[nodiscard]] int tls_policy_parse(struct str text, struct arena *a, struct tls_policy *ret_policy, struct buf *why);
/* The policy for this nexthop, as it is written in the job. A reason in `why` for anything but 0. */
[[nodiscard]] int tls_policy_find(const struct smtp_settings *s, struct str nexthop, struct arena *a,
                                  struct tls_policy *ret_policy, struct buf *why);
/* Makes p->key anew after the demands were changed. */
void tls_policy_seal(struct tls_policy *p, struct arena *a);
/* The same for one host, where smtp_tls_per_site may have a say about it. */
[[nodiscard]] int tls_policy_find_for_host(const struct smtp_settings *s, struct str nexthop, struct str host, struct arena *a,
                                           struct tls_policy *ret_policy, struct buf *why);
/* Up to the next name or fingerprint of a match list. */
bool tls_match_next(const struct tls_policy *p, struct str *rest, struct str *ret_item);
