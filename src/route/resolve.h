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

struct maps;
struct router;
struct view;

enum address_class { CLASS_DEFAULT, CLASS_LOCAL, CLASS_VIRTUAL_ALIAS, CLASS_VIRTUAL_MAILBOX, CLASS_RELAY };

struct route {
	enum address_class class;
	struct str transport; /* "smtp", "local", "error" ... */
	struct str nexthop;
	struct str recipient; /* the address to deliver to, internal form */
	bool is_routed;       /* the local part still holds @, ! or % */
	/*
	 * Nobody is delivered there: bad syntax, a relocated user, transport "error"; `nexthop` has dsn and text.
	 * Not set for CLASS_VIRTUAL_ALIAS, whose transport is "error" as well: before virtual aliases are
	 * expanded that says nothing of the recipient.
	 */
	bool is_error;
};

/* Opens all tables of the view. On success `why` holds warnings, one a line. */
[[nodiscard]] int router_new(const struct view *v, struct router **ret_router, struct buf *why);
void router_free(struct router *r);
bool router_has_changed(const struct router *r);

/* To standard form: "user" becomes user@$myorigin and so on. `origin` is $myorigin or the remote domain. */
struct str router_rewrite(struct router *r, struct str address, struct str origin, struct arena *a);
/* 0; or -EAGAIN with a reason when a table failed (451 4.3.0). `sender` chooses sender_dependent tables. */
[[nodiscard]] int router_resolve(struct router *r, struct str sender, struct str recipient, struct arena *a,
                                 struct route *ret_route, struct buf *why);
/* The class of a domain alone. */
[[nodiscard]] int router_class(struct router *r, struct str domain, enum address_class *ret_class, struct buf *why);
/* Two parameters that both list a domain and must not. */
struct route_conflict {
	const char *first, *second;
};
/* Those of a domain of that class; how many there are. */
size_t router_conflicts(struct router *r, struct str domain, enum address_class class,
                        struct route_conflict ret_conflicts[static 2]);
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
/* Where an address stands: bits, envelope_sender and so on as in *_classes parameters. */
enum address_side { SIDE_ENVELOPE_SENDER = 1, SIDE_ENVELOPE_RECIPIENT = 2, SIDE_HEADER_SENDER = 4, SIDE_HEADER_RECIPIENT = 8 };
/*
 * The canonical maps of the address's side, then masquerading. `*ret_address` is the
 * result in standard form, or `address` itself. -EAGAIN when a table failed.
 */
[[nodiscard]] int router_canonical(struct router *r, struct str address, enum address_side side, struct arena *a,
                                   struct str *ret_address, struct buf *why);
/* sender_bcc_maps or recipient_bcc_maps: one address; -ENOENT when there is none. */
[[nodiscard]] int router_bcc(struct router *r, struct str address, bool is_sender, struct arena *a, struct str *ret_address,
                             struct buf *why);

struct address_match {
	struct str value;
	struct str extension; /* the "+ext" that the found key did not have */
};
/*
 * user+ext@domain, user@domain, user+ext and user where the domain is ours, @domain: the search of all
 * tables that map addresses (canonical, generic, relocated ...). -ENOENT, or a table's failure.
 */
[[nodiscard]] int router_find_address(struct router *r, struct maps *m, struct str address, struct arena *a,
                                      struct address_match *ret_match, struct buf *why);

/* Cuts "user+ext" at the first of `delimiters`; false when there is no extension to cut off. */
bool split_extension(struct str local, struct str delimiters, bool is_owner_special, struct str *ret_user,
                     struct str *ret_extension);
/* Takes the next address of "a@b, <c@d> (text) e" off the front, in internal form. */
bool route_next_address(struct str *rest, struct arena *a, struct str *ret_address);
