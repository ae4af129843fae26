/* SPDX-License-Identifier: Apache-2.0 */
/*
 * local(8): one recipient of the queue, which aliases, lists and .forward files may turn into
 * many addresses, files and commands. Each of those is logged; together they are one answer.
 */
#pragma once

#include "base/map.h"
#include "role/local/local.h"

enum { LEVELS_MAX = 100 };

/* New mail that the expansion makes: the members of one list have one sender and one message. */
struct forwarding {
	struct forwarding *next;
	struct str sender;
	bool is_list; /* an owner- alias answers for it: delivery reports go there */
	struct str *addresses;
	size_t count;
	size_t size;
};

struct expansion {
	struct job *j;
	const struct recipient *r;
	struct map seen; /* what was delivered to already, for this recipient */
	struct outcome worst;
	bool has_outcome;
	struct forwarding *forwardings;
	struct str pass_to; /* transport:nexthop that takes the recipient instead; empty for none */
};

/* Who stands behind what is being delivered: an alias, a list or a .forward file, inside of others. */
struct level {
	const struct level *up;
	unsigned depth;
	const char *kind;  /* "alias", "include", "forward"; "" at the top */
	struct str name;   /* the alias, or the user of the .forward */
	struct str sender; /* of mail that goes on: the original one or owner-NAME */
	bool has_owner;
	bool is_resubmitting; /* members become new mail, not deliveries of this one */
	bool has_user;        /* an ordinary user stands behind it: :include: files are read with his rights, and keep them */
	uid_t uid;            /* the rights of files and commands */
	gid_t gid;
};

struct user {
	struct str name;
	struct str home;
	struct str shell;
	uid_t uid;
	gid_t gid;
};

/* A name to be delivered to: "user+extension" in lower case. */
struct mail_name {
	struct str local;
	struct str user;
	struct str extension;
	struct str domain;
};

/* 0, -ENOENT, or a failure of the user data base. */
[[nodiscard]] int user_find(struct str name, struct arena *a, struct user *ret_user) WAITS;

/* Logs how one address fared and counts it in. */
void expansion_note(struct expansion *x, const struct outcome *o, struct str address);
/* The rights of $default_privs, for whom nobody but root stands behind. */
void default_rights(struct expansion *x, uid_t *ret_uid, gid_t *ret_gid) WAITS;
/* Has this been delivered to already? Remembers it. */
bool expansion_was_here(struct expansion *x, const char *kind, struct str what);

/* Delivers to any address: here when it is ours, else as new mail. */
void deliver_address(struct expansion *x, struct str address, const struct level *lv) WAITS;
/* Delivers to every member of the right side of an alias, a list or a .forward file. False if there was none. */
bool deliver_members(struct expansion *x, struct str text, const struct level *lv) WAITS;
/* The end of all expansion: .forward, mailbox, or nobody. `is_direct` (\user) leaves .forward out. */
void deliver_user(struct expansion *x, const struct mail_name *n, bool is_direct, const struct level *lv) WAITS;
void deliver_command(struct expansion *x, struct str command, const struct user *user, const struct mail_name *n,
                     const struct level *lv) WAITS;
void deliver_file(struct expansion *x, struct str path, const struct level *lv) WAITS;
/* Adds an address to the new mail of its sender. */
void forward_later(struct expansion *x, struct str address, const struct level *lv);
/* Sends all new mail and notes its outcome. */
void forward_now(struct expansion *x) WAITS;

/* A text with $user, $home, $extension ... in it; other bytes of theirs than `filter` allows become "_". */
struct template
{
	struct str text;
	const struct user *user; /* or NULL */
	const struct mail_name *name;
	struct str filter;
};

/* Adds NAME=value for each NAME or NAME=value of export_environment, ended by a NUL. */
void environment_add_exported(struct buf *to, struct str list);

[[nodiscard]] int template_expand(struct expansion *x, const struct template *t, struct str *ret_text, struct buf *why);
