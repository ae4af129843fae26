/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DANE for SMTP (RFC 7672): what levels dane and dane-only come to for one host, once it is known whether the DNS vouches for it
 * and which TLSA records it has.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/base.h"
#include "base/str.h"
#include "role/smtp/connection.h"
#include "role/smtp/verdict.h"

struct tlsa;

/* What the DNS says about one host and port. */
struct dane {
	const struct tlsa
		*records; /* those that count; none where all are unusable, or where they are no more than a sign of TLS */
	size_t count;
	struct str base;  /* the name that they are found below, by port and protocol */
	struct str names; /* what else a certificate under an authority of theirs may name; parted by blanks */
	struct str text;  /* all of them, one a line */
	bool is_half;     /* who is right cannot be told, because the MX record is not signed */
};

/*
 * Puts in place of wish->policy, whose level is dane or dane-only, what this host is to be held to: level may, encrypt or dane.
 * -EHOSTUNREACH with a verdict where the host must not be used, and wish->outcome tells why; -ECANCELED.
 */
[[nodiscard]] int dane_find(struct connection_wish *wish, struct arena *a, struct verdict *ret_verdict) WAITS;
