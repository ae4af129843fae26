/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an address to who delivers it and where: rewriting to standard form, address
 * classes, transports, nexthops, recipient validation. Follows rewrite and resolve of
 * trivial-rewrite(8). One struct router a view; tables are opened once.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

struct view;
struct router;

enum address_class { CLASS_DEFAULT, CLASS_LOCAL, CLASS_VIRTUAL_ALIAS, CLASS_VIRTUAL_MAILBOX, CLASS_RELAY };

struct route {
	enum address_class class;
	struct str transport; /* "smtp", "local", "error" ... */
	struct str nexthop;
	struct str recipient; /* the address to deliver to, internal form */
	bool is_routed;       /* the local part still holds @, ! or % */
	bool is_error;        /* not deliverable: `nexthop` has dsn and text */
};

[[nodiscard]] int router_new(const struct view *v, struct router **ret_router, struct buf *why);
void router_free(struct router *r);
bool router_has_changed(const struct router *r);

/* To standard form: "user" becomes user@$myorigin and so on. `origin` is $myorigin or the remote domain. */
struct str router_rewrite(struct router *r, struct str address, struct str origin, struct arena *a);
/* 0; or -EAGAIN with a reason when a table failed (451 4.3.0). `sender` chooses sender_dependent tables. */
[[nodiscard]] int router_resolve(struct router *r, struct str sender, struct str recipient, struct arena *a, struct route *ret_route,
                                 struct buf *why);
/* The class of a domain alone. */
[[nodiscard]] int router_class(struct router *r, struct str domain, enum address_class *ret_class, struct buf *why);
/*
 * Does this recipient exist? 1 yes or not checked, 0 no, <0 a table failed. `*ret_table` names what
 * was asked ("local recipient table", "virtual mailbox table" ...).
 */
[[nodiscard]] int router_recipient_exists(struct router *r, const struct route *route, struct arena *a, const char **ret_table,
                                          struct buf *why);
/* Is it ours to relay without authentication: local, virtual, relay_domains? is_routed addresses never are. */
bool route_is_authorized(const struct route *route);

/* Virtual aliases: every address that `address` becomes, recursively. -EAGAIN, -E2BIG beyond the limits. */
[[nodiscard]] int router_expand_virtual(struct router *r, struct str address, struct arena *a, struct str **ret_addresses,
                                        size_t *ret_count, struct buf *why);
/* canonical_maps and friends; `is_sender`/`is_header` choose the tables and classes. Returns the result or `address`. */
[[nodiscard]] int router_canonical(struct router *r, struct str address, bool is_sender, bool is_header, struct arena *a,
                                   struct str *ret_address, struct buf *why);
