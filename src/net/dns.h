/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS through libunbound, with a cache of our own for what every session asks, and
 * /etc/hosts for names that live there. Answers are copied into the caller's arena.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"

struct view;

enum dns_type {
	DNS_A = 1,
	DNS_NS = 2,
	DNS_CNAME = 5,
	DNS_PTR = 12,
	DNS_MX = 15,
	DNS_TXT = 16,
	DNS_AAAA = 28,
	DNS_SRV = 33,
	DNS_TLSA = 52
};

/* How a lookup ended. Anything but DNS_FOUND has no records. */
enum dns_status { DNS_FOUND, DNS_NO_DATA, DNS_NO_NAME, DNS_TRY_AGAIN, DNS_BOGUS, DNS_FAILED };

struct dns_record {
	enum dns_type type;
	struct str name;     /* MX exchange, NS, CNAME and PTR target, SRV target; lower case, no final dot; "" for the root */
	uint16_t preference; /* MX, SRV priority */
	uint16_t weight;     /* SRV */
	uint16_t port;       /* SRV */
	struct str data;     /* A 4 bytes, AAAA 16, TXT joined, TLSA raw */
};

struct dns_answer {
	enum dns_status status;
	struct dns_record *records; /* by preference */
	size_t count;
	uint32_t ttl;         /* seconds that are left */
	bool is_secure;       /* validated by DNSSEC, the absence of records as well */
	struct str canonical; /* owner after CNAMEs */
	struct str reason;    /* for people: "Host not found" ... in Postfix's wording, see dns.c */
};

/* "mx", "TLSA". -EINVAL for others. */
[[nodiscard]] int dns_type_parse(struct str word, enum dns_type *ret_type);
/* Which names get domains of the search list of resolv.conf behind them: those without a dot the first, or all of them each. */
enum { DNS_SEARCH_SINGLE = 1, DNS_SEARCH_ALL = 2 };

/* The names that `name` may stand for, in the order to try them; it is among them. */
size_t dns_search_names(struct str name, unsigned options, struct arena *a, struct str **ret_names);
/* A name in UTF-8 as the DNS knows it (RFC 5891); empty when there is no such thing. Others stay as they are. */
struct str dns_ascii_name(struct str name, struct arena *a);
/* Once a process. Reads postrider_dns_server ("127.0.0.1@5353"; empty: resolv.conf) and friends of the view. */
[[nodiscard]] int dns_init(const struct view *v, struct buf *why);
/*
 * Before the first lookup, while files can be read: answers are validated from then on, with the trust anchors of
 * postrider_dnssec_trust_anchors, or by postrider_dnssec_resolver. Without a usable one of them -EINVAL or -errno and the
 * reason; lookups then go on as before.
 */
[[nodiscard]] int dns_use_dnssec(const struct view *v, struct buf *why);
void dns_done(void);
/* Waits. 0 with any status in *ret_answer; -ETIMEDOUT, -ECANCELED. */
[[nodiscard]] int dns_lookup(struct str name, enum dns_type type, struct duration timeout, struct arena *a,
                             struct dns_answer *ret_answer) WAITS;
/* Addresses of a host: hosts file first when `use_hosts`, then A and AAAA as `want_v4`/`want_v6` say. */
[[nodiscard]] int dns_addresses(struct str host, bool use_hosts, bool want_v4, bool want_v6, struct arena *a,
                                struct dns_answer *ret_answer) WAITS;
/* The PTR name of an address ("" when none), and in *ret_verified whether the name leads back to it. */
[[nodiscard]] int dns_host_name(const struct sockaddr *address, struct arena *a, struct str *ret_name, enum dns_status *ret_ptr,
                                enum dns_status *ret_forward) WAITS;
