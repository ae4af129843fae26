/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a router: every table and list that routing asks, opened once a view. */
#pragma once

#include "config/config.h"
#include "config/params.h"
#include "route/resolve.h"
#include "table/table.h"

/* Maps a router owns; the names are in router.c. */
enum router_map {
	MAP_TRANSPORT,
	MAP_VIRTUAL_ALIAS,
	MAP_VIRTUAL_MAILBOX,
	MAP_LOCAL_RECIPIENT,
	MAP_RELAY_RECIPIENT,
	MAP_RELOCATED,
	MAP_SENDER_RELAYHOST,
	MAP_SENDER_TRANSPORT,
	MAP_CANONICAL,
	MAP_SENDER_CANONICAL,
	MAP_RECIPIENT_CANONICAL,
	MAP_SENDER_BCC,
	MAP_RECIPIENT_BCC,
	MAP_COUNT,
};

enum router_list {
	LIST_MYDESTINATION,
	LIST_VIRTUAL_ALIAS,
	LIST_VIRTUAL_MAILBOX,
	LIST_RELAY,
	LIST_MASQUERADE_EXCEPTIONS,
	LIST_COUNT,
};

struct ip_set;

struct router {
	const struct view *view;
	const struct params *params;
	struct maps *maps[MAP_COUNT];
	struct match_list *lists[LIST_COUNT];
	struct ip_set *own_addresses;
	unsigned canonical_sides;
	unsigned sender_canonical_sides;
	unsigned recipient_canonical_sides;
	unsigned masquerade_sides;
	bool propagates_canonical;
	bool propagates_virtual;
	bool transport_wants_parents; /* transport_maps in parent_domain_matches_subdomains */
};

/* Is it mydestination, or [address] of ours? 1, 0, <0. */
[[nodiscard]] int router_is_local(struct router *r, struct str domain, struct buf *why);
/* Every table failure looks the same from here: -EAGAIN. */
int as_temporary(int err);
