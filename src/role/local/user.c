/* SPDX-License-Identifier: Apache-2.0 */
/* A system user: .forward, mailbox_command, mailbox; and what happens to mail for nobody. */
#include <errno.h>
#include <pwd.h>
#include <sys/stat.h>

#include "base/log.h"
#include "mail/address.h"
#include "role/local/expansion.h"
#include "role/local/work.h"

/* The user data base may be a network away. */
struct question {
	const char *name;
	char *space;
	size_t size;
	struct passwd entry;
	struct passwd *found;
	int error;
};

static void ask(void *arg)
{
	struct question *q = arg;

	q->error = getpwnam_r(q->name, &q->entry, q->space, q->size, &q->found);
}

int user_find(struct str name, struct arena *a, struct user *ret_user)
{
	struct question q = {.name = arena_cstr(a, name), .size = 16384};

	q.space = arena_alloc(a, q.size);
	(void)fiber_work(ask, &q);
	if (!q.found)
		return q.error == 0 || q.error == ENOENT || q.error == ESRCH ? -ENOENT : -q.error;
	*ret_user = (struct user){.name = str_of(q.found->pw_name),
	                          .home = str_of(q.found->pw_dir),
	                          .shell = str_of(q.found->pw_shell),
	                          .uid = q.found->pw_uid,
	                          .gid = q.found->pw_gid};
	return 0;
}

static struct str address_of(struct expansion *x, const struct mail_name *n)
{
	return arena_printf(&x->j->arena, "%.*s@%.*s", STR_ARG(n->local), STR_ARG(n->domain));
}

/* --- .forward -------------------------------------------------------------------------- */

/* 1 the file told where mail goes, 0 no file or nothing in it, <0 deferred and noted. */
static int try_forward_file(struct expansion *x, struct str path, const struct mail_name *n, const struct user *u,
                            const struct level *lv)
{
	struct level inner = {.up = lv,
	                      .depth = lv->depth + 1,
	                      .kind = "forward",
	                      .name = u->name,
	                      .sender = lv->sender,
	                      .has_owner = lv->has_owner,
	                      .is_resubmitting = true,
	                      .has_user = u->uid != 0,
	                      .uid = u->uid,
	                      .gid = u->gid};
	struct message m = {.type = MESSAGE_WORK_READ, .fd = -1, .work_read = {.path = path}};
	struct work_answer answer;
	struct outcome o;

	workers_run(&(struct identity){.uid = u->uid, .gid = u->gid}, &m, NULL, &x->j->arena, &answer);
	switch (answer.error) {
	case 0:
		return deliver_members(x, answer.data, &inner);
	case ENOENT:
	case ENOTDIR:
	case EACCES:
		return 0;
	case EPERM:
	case EINVAL:
		log_warn("%.*s: not a file of that user alone; ignored", STR_ARG(path));
		return 0;
	default:
		o = outcome_of(x->j, "4.3.0", "%.*s: %s", STR_ARG(path),
		               answer.text.len > 0 ? answer.text.ptr : strerror(answer.error));
		expansion_note(x, &o, address_of(x, n));
		return -1;
	}
}

/* "$home/.forward+$extension" says nothing of an address without one. */
static bool needs_extension(struct str path)
{
	return str_find_str(path, STR("$extension")) < path.len || str_find_str(path, STR("${extension}")) < path.len ||
	       str_find_str(path, STR("$(extension)")) < path.len;
}

static bool try_forward(struct expansion *x, const struct mail_name *n, const struct user *u, const struct level *lv)
{
	const struct params *p = x->j->transport->params;
	struct str rest = p->forward_path, item, path;
	int result = 0;

	while (!result && str_next_braced(&rest, ", \t\r\n", &item)) {
		struct buf why = BUF_INIT(1024);

		if (n->extension.len == 0 && needs_extension(item))
			continue;
		if (template_expand(x, &(struct template){item, u, n, p->forward_expansion_filter}, &path, &why) != 0)
			log_warn("forward_path: %s", buf_cstr(&why));
		else if (path.len > 0 && path.ptr[0] == '/' && !expansion_was_here(x, "forward", path))
			result = try_forward_file(x, path, n, u, lv);
		buf_done(&why);
	}
	return result != 0;
}

/* --- mailboxes ------------------------------------------------------------------------- */

/* The spool folder's group may write there, as on Debian: mailboxes are made and locked with it. */
static gid_t spool_group(struct str folder, const struct user *u, struct arena *a)
{
	struct stat st;

	return stat(arena_cstr(a, folder), &st) == 0 && (st.st_mode & 020) ? st.st_gid : u->gid;
}

static void deliver_to_mailbox(struct expansion *x, const struct mail_name *n, const struct user *u)
{
	const struct params *p = x->j->transport->params;
	struct message_work_mailbox m = {.limit = (uint64_t)p->mailbox_size_limit};
	struct str spool = p->mail_spool_directory;
	gid_t gid = u->gid;
	struct outcome o;

	if (p->home_mailbox.len > 0) {
		m.path = arena_printf(&x->j->arena, "%.*s/%.*s", STR_ARG(u->home), STR_ARG(p->home_mailbox));
	} else {
		bool is_maildir = str_ends(spool, STR("/"));

		m.path = arena_printf(&x->j->arena, "%.*s%s%.*s%s", STR_ARG(spool), is_maildir ? "" : "/", STR_ARG(u->name),
		                      is_maildir ? "/" : "");
		gid = spool_group(spool, u, &x->j->arena);
	}
	m.head = delivery_head(x->j, x->r, x->r->address);
	o = deliver_mailbox(x->j, u->uid, gid, &m);
	expansion_note(x, &o, address_of(x, n));
}

/* mailbox_command_maps, then mailbox_command. 1 delivered by it, 0 none is set. */
static bool try_mailbox_command(struct expansion *x, const struct mail_name *n, const struct user *u, const struct level *lv)
{
	const struct params *p = x->j->transport->params;
	struct str command = p->mailbox_command, text;
	struct buf why = BUF_INIT(4096);
	struct outcome o;
	int err = maps_find(x->j->transport->mailbox_commands, u->name, false, &x->j->arena, &command, &why);

	if (err == -ENOENT)
		command = p->mailbox_command;
	if ((!err || err == -ENOENT) && command.len == 0) {
		buf_done(&why);
		return false;
	}
	if (!err || err == -ENOENT)
		err = template_expand(x, &(struct template){command, u, n, p->command_expansion_filter}, &text, &why);
	if (err) {
		o = outcome_of(x->j, "4.3.5", "mailbox_command: %s", buf_cstr(&why));
		expansion_note(x, &o, address_of(x, n));
	} else {
		deliver_command(x, text, u, n, lv);
	}
	buf_done(&why);
	return true;
}

/* mailbox_transport and fallback_transport with their maps: another transport takes the recipient. */
static bool try_transport(struct expansion *x, const struct mail_name *n, struct maps *m, struct str transport,
                          const struct level *lv)
{
	struct buf why = BUF_INIT(4096);
	struct outcome o;
	int err = maps_find(m, n->user, false, &x->j->arena, &transport, &why);
	bool is_set = (err && err != -ENOENT) || transport.len > 0;

	if (err && err != -ENOENT)
		o = outcome_of(x->j, "4.3.0", "%s", buf_cstr(&why));
	if (err && err != -ENOENT)
		expansion_note(x, &o, address_of(x, n));
	else if (is_set && lv->depth == 0)
		x->pass_to = transport;
	else if (is_set)
		/* Part of something larger: as mail of its own it comes back here and is passed on whole. */
		forward_later(x, address_of(x, n), lv);
	buf_done(&why);
	return is_set;
}

static void deliver_to_nobody(struct expansion *x, const struct mail_name *n, const struct level *lv)
{
	const struct params *p = x->j->transport->params;
	struct outcome o;

	if (try_transport(x, n, x->j->transport->fallback_transports, p->fallback_transport, lv))
		return;
	if (p->luser_relay.len > 0) {
		struct level inner = *lv;
		struct buf why = BUF_INIT(1024);
		struct str address;

		inner.up = lv;
		inner.depth++;
		if (template_expand(x, &(struct template){p->luser_relay, NULL, n, p->forward_expansion_filter}, &address,
		                    &why) != 0) {
			o = outcome_of(x->j, "4.3.5", "luser_relay: %s", buf_cstr(&why));
			expansion_note(x, &o, address_of(x, n));
		} else if (!expansion_was_here(x, "luser", address)) {
			deliver_address(x, address, &inner);
		}
		buf_done(&why);
		return;
	}
	if (str_eq(n->user, STR("mailer-daemon")) || str_eq(n->user, STR("postmaster"))) {
		log_warn("required alias not found: %.*s", STR_ARG(n->user));
		o = outcome_of(x->j, "2.0.0", "discarded");
	} else {
		o = outcome_of(x->j, "5.1.1", "unknown user: \"%.*s\"", STR_ARG(n->user));
	}
	expansion_note(x, &o, address_of(x, n));
}

void deliver_user(struct expansion *x, const struct mail_name *n, bool is_direct, const struct level *lv)
{
	const struct params *p = x->j->transport->params;
	struct outcome o;
	struct user u;
	struct stat st;
	int err = user_find(n->user, &x->j->arena, &u);

	if (err && err != -ENOENT) {
		o = outcome_of(x->j, "4.3.0", "user lookup error: %s", strerror(-err));
		expansion_note(x, &o, address_of(x, n));
		return;
	}
	if (!err && p->require_home_directory && stat(arena_cstr(&x->j->arena, u.home), &st) != 0) {
		o = outcome_of(x->j, "4.3.0", "cannot access home directory %.*s: %s", STR_ARG(u.home), strerror(errno));
		expansion_note(x, &o, address_of(x, n));
		return;
	}
	if (!err && !is_direct && try_forward(x, n, &u, lv))
		return;
	if (expansion_was_here(x, "mailbox", n->user))
		return;
	if (try_transport(x, n, x->j->transport->mailbox_transports, p->mailbox_transport, lv))
		return;
	if (err)
		deliver_to_nobody(x, n, lv);
	else if (!try_mailbox_command(x, n, &u, lv))
		deliver_to_mailbox(x, n, &u);
}
