/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the DNS client that hold no connections: reading rdata, the cache, the hosts file. */
#pragma once

#include "net/dns.h"

/* dns_wire.c: a domain name in wire form as lower-case text without the final dot. -EBADMSG; moves *rest behind it. */
[[nodiscard]] int dns_wire_name(struct str *rest, struct arena *a, struct str *ret_name);
/* One record's rdata. -EBADMSG for anything that is not what `type` says. */
[[nodiscard]] int dns_wire_record(struct str rdata, enum dns_type type, struct arena *a, struct dns_record *ret_record);
/* "MX", "AAAA". */
const char *dns_type_name(enum dns_type type);
/* "4.3.2.1.in-addr.arpa"; empty for other families. */
struct str dns_reverse_name(const struct sockaddr *address, struct arena *a);

/* dns_anchors.c: the records of a file of trust anchors, one a line. -EINVAL with the reason. */
[[nodiscard]] int dns_anchors_parse(struct str text, struct buf *to, struct buf *why);

/* dns_search.c: as dns_search_names(), with this search list. */
size_t dns_search_expand(struct str name, unsigned options, struct str domains, struct arena *a, struct str **ret_names);
/* The search list of a resolv.conf, parted by blanks; the caller frees it. */
char *dns_search_read(const char *path);

/* dns_stub.c: asks one resolver, and believes its AD bit. Waits. -ETIMEDOUT, -ECANCELED, or an errno of the network. */
[[nodiscard]] int dns_stub_ask(const struct sockaddr *server, struct str name, enum dns_type type, struct instant deadline,
                               struct arena *a, struct dns_answer *ret_answer) WAITS;

/* dns_cache.c: a copy in `a` of an answer that is still good. */
bool dns_cache_find(struct str name, enum dns_type type, struct arena *a, struct dns_answer *ret_answer);
void dns_cache_add(struct str name, enum dns_type type, const struct dns_answer *answer);
void dns_cache_clear(void);
void dns_answer_copy(struct dns_answer *to, const struct dns_answer *from, struct arena *a);

/* hosts.c: the hosts file, read again when it changed. Addresses as A and AAAA records; false when the name is not there. */
bool hosts_find_name(struct str name, bool want_v4, bool want_v6, struct arena *a, struct dns_answer *ret_answer);
bool hosts_find_address(const struct sockaddr *address, struct arena *a, struct str *ret_name);
/* Another file than /etc/hosts. */
void hosts_set_file(const char *path);
void hosts_clear(void);
