/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many networks, asked with one address: the first network that was added and holds
 * the address wins. Compiled to sorted ranges, so a question is one binary search.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

struct ip_key {
	uint64_t high; /* 0 for IPv4 */
	uint64_t low;
	bool is_v6;
};

struct ip_net {
	struct ip_key first;
	unsigned prefix; /* of 32 or 128 */
};

struct ip_set;

/* "192.0.2.1", "2001:db8::1"; IPv4 in IPv6 form counts as IPv4. False for anything else. */
bool ip_key_parse(struct str text, struct ip_key *ret_ip);
/* "net/prefix" or an address, with or without brackets around it. */
[[nodiscard]] int ip_net_parse(struct str text, struct ip_net *ret_net, struct buf *why);
bool ip_net_has(const struct ip_net *n, const struct ip_key *ip);

[[nodiscard]] struct ip_set *ip_set_new(void);
void ip_set_free(struct ip_set *s);
/* `value` comes back from ip_set_find(); of two networks with an address, the smaller value wins. */
void ip_set_add(struct ip_set *s, const struct ip_net *n, int value);
/* After the last add, before the first question. */
void ip_set_build(struct ip_set *s);
/* -1 when no network holds the address. */
int ip_set_find(const struct ip_set *s, const struct ip_key *ip);
