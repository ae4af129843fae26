/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lookup tables: one interface, one file a type. `type:name` as in Postfix.
 *
 * Results are copied into the arena the caller gives. Lookups read files (page cache) without waiting; the
 * types that another program answers for (socketmap, tcp) suspend the fiber. maps and match lists may be
 * closed meanwhile; a table that was opened by itself must not.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

struct table;
struct view;

/* This process cannot wait in lookups: tables that would are a temporary failure. Before the first lookup. */
void table_never_wait(void);

enum table_flag {
	TABLE_FOLD = 1,      /* lower-case the key (fixed-key types); nearly everyone wants this */
	TABLE_NO_REGSUB = 2, /* refuse $1 in regexp and pcre: alias_maps, transport_maps, virtual_*_maps ... */
	TABLE_PARANOID = 4,  /* refuse types that a stranger may influence (tcp) */
	/*
	 * A table that cannot be opened (missing, unsupported) is no error but a warning, and each lookup in it a
	 * temporary failure: so a server starts, and only what needs the table waits. Bad syntax stays an error.
	 */
	TABLE_SURROGATE = 8,
	TABLE_NOW = 16, /* refuse types that wait for another program's answer (socketmap, tcp): who will ask cannot */
};

/*
 * Opens "type:name". `view` expands $name inside inline: and friends and may be NULL.
 * Fails with a reason that says what, where and what to do ("postmap hash:/etc/x makes it").
 * -EINVAL bad spec or content, -ENOTSUP unknown type, or the errno of opening.
 * On success `why` holds warnings, one a line: rules that are skipped, a file older than its source.
 */
[[nodiscard]] int table_open(struct str spec, unsigned flags, const struct view *view, struct table **ret_table, struct buf *why);
void table_close(struct table *t);

/*
 * 0 and a value, -ENOENT for no such key, anything else is a temporary failure (never "not found"):
 * `why` then tells. An empty value is an error of the operator and comes back as it is.
 */
[[nodiscard]] int table_find(struct table *t, struct str key, struct arena *a, struct str *ret_value, struct buf *why) WAITS;
/* Does the type take partial keys (user, @domain, parents, truncated addresses)? False for patterns. */
bool table_is_fixed_key(const struct table *t);
struct str table_spec(const struct table *t);
/* Was the file replaced since it was opened? Cheap enough to ask between sessions. */
bool table_has_changed(const struct table *t);
/* The names of the types there are; false behind the last. */
bool table_type_name(size_t at, struct str *ret_name);
/* The file or files behind it, for sandboxes; false when there is none at this index. */
bool table_path(const struct table *t, size_t at, struct str *ret_path);

/* All entries, for postmap -s; -ENOTSUP where the type has none. `fn` returns false to stop. */
typedef bool table_entry_fn(struct str key, struct str value, void *arg);
[[nodiscard]] int table_walk(struct table *t, table_entry_fn *fn, void *arg);

/* --- lists of tables, as *_maps parameters hold them: first hit wins, an error ends the search --- */

struct maps;
/* `text` is the expanded value: tables parted by blanks and commas. Empty text gives an empty maps. */
[[nodiscard]] int maps_open(struct str text, unsigned flags, const struct view *view, struct maps **ret_maps, struct buf *why);
void maps_close(struct maps *m);
bool maps_is_empty(const struct maps *m);
/* Whole key. `is_fixed_only` asks only fixed-key tables, as partial keys demand. */
[[nodiscard]] int maps_find(struct maps *m, struct str key, bool is_fixed_only, struct arena *a, struct str *ret_value,
                            struct buf *why);
bool maps_have_changed(const struct maps *m);
size_t maps_count(const struct maps *m);
struct table *maps_table(const struct maps *m, size_t at);

/* --- match lists, as mynetworks, mydestination, relay_domains: literals, !negation, /file, type:table --- */

struct match_list;
enum match_kind {
	MATCH_STRING,  /* exact, case-insensitive */
	MATCH_DOMAIN,  /* the domain itself, .parent patterns; with MATCH_PARENTS also its subdomains */
	MATCH_ADDRESS, /* IP addresses and address/prefix */
	MATCH_USER,
};
/* TABLE_SURROGATE and TABLE_NOW may be added. */
enum { MATCH_PARENTS = 256 }; /* parent_domain_matches_subdomains names this list */
[[nodiscard]] int match_list_open(struct str text, enum match_kind kind, unsigned flags, const struct view *view,
                                  struct match_list **ret_list, struct buf *why);
void match_list_close(struct match_list *l);
/* 1 matched, 0 not, <0 a table failed. `name` a domain or user, or an address as text "192.0.2.1", "2001:db8::1". */
[[nodiscard]] int match_list_check(struct match_list *l, struct str name, struct buf *why);
/* Was a file or table of the list replaced? NULL is fine: false. */
bool match_list_has_changed(const struct match_list *l);
