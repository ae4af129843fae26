/* SPDX-License-Identifier: Apache-2.0 */
/* From a nexthop to the addresses to try, in the order to try them (RFC 5321, 5.1). */
#pragma once

#include <stdint.h>
#include <sys/socket.h>

#include "base/arena.h"
#include "base/base.h"
#include "base/str.h"
#include "role/smtp/smtp_settings.h"
#include "role/smtp/verdict.h"

/* "example.org", "[host]:port", "host:port", "[192.0.2.1]", and for LMTP "unix:path" and "inet:host:port". */
struct nexthop {
	struct str host;
	struct str path; /* of a local socket; host is empty then */
	uint16_t port;
	bool has_brackets; /* no MX lookup */
};

struct target {
	struct str host;
	struct str expanded;  /* its name behind CNAMEs; as host where there are none */
	struct str mx_domain; /* where its MX record was found, behind CNAMEs of the nexthop; empty where none was asked for */
	bool is_mx_secure;    /* DNSSEC vouches for the way from nexthop to host: a signed MX record, or none asked for */
	bool is_secure;       /* ... and for its address, and the CNAMEs on the way there */
	struct sockaddr_storage address;
	uint16_t preference;
};

struct target_list {
	struct target *targets;
	size_t count;
};

/* -EINVAL for what is no nexthop. */
[[nodiscard]] int nexthop_parse(struct str text, const struct smtp_settings *s, struct nexthop *ret_nexthop);
/* The targets of a nexthop that is no local socket. -EHOSTUNREACH with a verdict, or -ECANCELED. */
[[nodiscard]] int targets_find(const struct nexthop *nexthop, const struct smtp_settings *s, struct arena *a,
                               struct target_list *ret_list, struct verdict *ret_verdict) WAITS;
/* Notes the addresses of this machine, which no mail may be sent to by MX. Once, while the system still tells them. */
void targets_note_own(const struct config *c);
