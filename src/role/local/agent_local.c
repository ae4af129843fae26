/* SPDX-License-Identifier: Apache-2.0 */
/* local: the recipients of a job, aliases, and where an address goes. */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "mail/address.h"
#include "role/local/expansion.h"
#include "role/local/work.h"

static int severity(enum delivery_status s)
{
	return s == DELIVERY_DEFERRED ? 2 : s == DELIVERY_BOUNCED ? 1 : 0;
}

void expansion_note(struct expansion *x, const struct outcome *o, struct str address)
{
	struct str original = x->r->original.len > 0 ? x->r->original : x->r->address;

	outcome_log(x->j, o, address, original, "local");
	if (!x->has_outcome || severity(o->status) > severity(x->worst.status))
		x->worst = *o;
	x->has_outcome = true;
}

bool expansion_was_here(struct expansion *x, const char *kind, struct str what)
{
	return map_set(&x->seen, arena_printf(&x->j->arena, "%s %.*s", kind, STR_ARG(what)), x) != NULL;
}

/* --- aliases -------------------------------------------------------------------------- */

static bool is_inside_alias(const struct level *lv, struct str name)
{
	for (; lv; lv = lv->up)
		if (strcmp(lv->kind, "alias") == 0 && str_eq(lv->name, name))
			return true;
	return false;
}

static int find_alias(struct expansion *x, struct str name, struct str *ret_value, struct table **ret_table, struct buf *why)
{
	struct maps *m = x->j->transport->aliases;
	struct buf key = BUF_INIT(2048);
	int err = -ENOENT;

	address_format(&key, name);
	for (size_t i = 0; err == -ENOENT && i < maps_count(m); i++) {
		*ret_table = maps_table(m, i);
		err = table_find(*ret_table, buf_str(&key), &x->j->arena, ret_value, why);
		if (err == -ENOENT && !str_eq(buf_str(&key), name))
			err = table_find(*ret_table, name, &x->j->arena, ret_value, why);
	}
	buf_done(&key);
	return err;
}

void default_rights(struct expansion *x, uid_t *ret_uid, gid_t *ret_gid)
{
	struct user u;
	bool is_known = user_find(x->j->transport->params->default_privs, &x->j->arena, &u) == 0 && u.uid != 0;

	*ret_uid = is_known ? u.uid : 65534;
	*ret_gid = is_known ? u.gid : 65534;
}

/* The aliases of root speak for default_privs, those of another owner for that user. */
static void set_rights(struct expansion *x, struct table *t, struct level *lv)
{
	struct str path;
	struct stat st;

	if (geteuid() != 0) {
		lv->uid = geteuid();
		lv->gid = getegid();
		return;
	}
	if (table_path(t, 0, &path) && stat(arena_cstr(&x->j->arena, path), &st) == 0 && st.st_uid != 0) {
		lv->uid = st.st_uid;
		lv->gid = st.st_gid;
		lv->has_user = true;
		return;
	}
	default_rights(x, &lv->uid, &lv->gid);
}

/* With owner-NAME the list is mail of its own: its owner hears of failures. */
static void set_owner(struct expansion *x, const struct mail_name *n, struct level *lv)
{
	struct str value, owner = arena_printf(&x->j->arena, "owner-%.*s", STR_ARG(lv->name));
	struct buf why = BUF_INIT(1024);
	struct table *t;

	if (find_alias(x, owner, &value, &t, &why) == 0) {
		struct str first;

		lv->has_owner = lv->is_resubmitting = true;
		lv->sender = arena_printf(&x->j->arena, "%.*s@%.*s", STR_ARG(owner), STR_ARG(n->domain));
		if (x->j->transport->params->expand_owner_alias && route_next_address(&value, &x->j->arena, &first))
			lv->sender =
				router_rewrite(x->j->transport->router, first, x->j->transport->params->myorigin, &x->j->arena);
	}
	buf_done(&why);
}

/* 1 delivered (however that went), 0 no such alias. */
static bool try_alias(struct expansion *x, const struct mail_name *n, struct str name, const struct level *lv)
{
	struct level inner = {.up = lv,
	                      .depth = lv->depth + 1,
	                      .kind = "alias",
	                      .name = name,
	                      .sender = lv->sender,
	                      .has_owner = lv->has_owner};
	struct str address = arena_printf(&x->j->arena, "%.*s@%.*s", STR_ARG(n->local), STR_ARG(n->domain)), value;
	struct buf why = BUF_INIT(4096);
	struct outcome o;
	struct table *t;
	int err;

	if (name.len == 0 || is_inside_alias(lv, name))
		return false;
	err = find_alias(x, name, &value, &t, &why);
	if (err && err != -ENOENT) {
		o = outcome_of(x->j, "4.3.0", "alias database unavailable: %s", buf_cstr(&why));
		expansion_note(x, &o, address);
	}
	buf_done(&why);
	if (err)
		return err != -ENOENT;
	if (expansion_was_here(x, "alias", name))
		return true;
	set_rights(x, t, &inner);
	set_owner(x, n, &inner);
	if (!deliver_members(x, value, &inner)) {
		log_warn("alias %.*s: the list is empty", STR_ARG(name));
		o = outcome_of(x->j, "4.2.0", "empty expansion of alias %.*s", STR_ARG(name));
		expansion_note(x, &o, address);
	}
	return true;
}

/* --- addresses ----------------------------------------------------------------------- */

static bool has_loop(struct expansion *x, struct str address)
{
	struct work_content c = {x->j->file->fd, x->j->content_at, x->j->content_size};

	return content_was_delivered_to(&c, address) == 1;
}

/* A name of this machine. */
static void deliver_local(struct expansion *x, struct str address, const struct level *lv)
{
	const struct params *p = x->j->transport->params;
	struct mail_name n = {0};
	struct str local;
	struct outcome o;
	bool is_direct;

	if (!address_split(address, &local, &n.domain))
		local = address;
	if (has_loop(x, address)) {
		o = outcome_of(x->j, "5.4.6", "mail forwarding loop for %.*s", STR_ARG(address));
		expansion_note(x, &o, address);
		return;
	}
	is_direct = local.len > 1 && local.ptr[0] == '\\';
	n.local = arena_lower(&x->j->arena, str_from(local, is_direct));
	if (!split_extension(n.local, p->recipient_delimiter, p->owner_request_special, &n.user, &n.extension))
		n.user = n.local;
	if (str_has(n.extension, '/')) {
		log_warn("%s: address with illegal extension: %.*s", x->j->envelope.queue_id, STR_ARG(n.local));
		n.extension = (struct str){NULL, 0};
	}
	if (is_direct) {
		deliver_user(x, &n, true, lv);
		return;
	}
	if (try_alias(x, &n, n.local, lv))
		return;
	if (!str_eq(n.user, n.local) && try_alias(x, &n, n.user, lv))
		return;
	/* Someone else's list or .forward: it is new mail, with failures of its own. */
	if (lv->is_resubmitting && !(strcmp(lv->kind, "forward") == 0 && str_eq(lv->name, n.user)))
		forward_later(x, address, lv);
	else
		deliver_user(x, &n, strcmp(lv->kind, "forward") == 0, lv);
}

void deliver_address(struct expansion *x, struct str address, const struct level *lv)
{
	struct router *router = x->j->transport->router;
	struct arena *a = &x->j->arena;
	struct buf why = BUF_INIT(4096);
	struct route route;
	struct outcome o;
	int err;

	if (lv->depth > LEVELS_MAX) {
		o = outcome_of(x->j, "5.4.6", "possible alias database loop for %.*s", STR_ARG(address));
		expansion_note(x, &o, address);
		return;
	}
	address = router_rewrite(router, address, x->j->transport->params->myorigin, a);
	err = router_resolve(router, lv->sender, address, a, &route, &why);
	if (err)
		o = outcome_of(x->j, "4.3.0", "address resolver failure: %s", buf_cstr(&why));
	else if (route.is_error)
		o = outcome_of(x->j, "5.1.3", "%.*s", STR_ARG(route.nexthop));
	buf_done(&why);
	if (err || route.is_error)
		expansion_note(x, &o, address);
	else if (str_eq(route.transport, x->j->transport->name))
		deliver_local(x, route.recipient, lv);
	else
		forward_later(x, address, lv);
}

/* qmgr gives it to the other transport. */
static void pass_on(struct expansion *x, uint32_t index)
{
	struct message m = {.type = MESSAGE_PASS_ON, .pass_on = {.job = x->j->number, .recipient = index}};

	if (!str_split(x->pass_to, ':', &m.pass_on.transport, &m.pass_on.nexthop))
		m.pass_on.transport = x->pass_to;
	if (str_eq(m.pass_on.transport, x->j->transport->name)) {
		x->worst = outcome_of(x->j, "4.3.5", "mail system configuration error: transport %.*s passes mail to itself",
		                      STR_ARG(m.pass_on.transport));
		expansion_note(x, &x->worst, x->r->address);
		outcome_report(x->j, &x->worst, index);
		return;
	}
	log_info("%s: passing <%.*s> to transport=%.*s", x->j->envelope.queue_id,
	         STR_ARG(address_external(&x->j->arena, x->r->address)), STR_ARG(m.pass_on.transport));
	(void)!channel_send(x->j->qmgr, &m);
}

static void deliver_recipient(struct job *j, uint32_t index)
{
	const struct recipient *r = &j->envelope.recipients[index];
	struct expansion x = {.j = j, .r = r};
	struct level top = {.kind = "", .sender = j->envelope.sender};

	if (!j->file || !j->transport->router) {
		struct outcome o = outcome_of(
			j, "4.3.0", j->file ? "mail system configuration error" : "the content of the message is not open here");

		expansion_note(&x, &o, r->address);
	} else {
		deliver_local(&x, r->address, &top);
		forward_now(&x);
	}
	if (x.pass_to.len > 0 && !x.has_outcome) {
		pass_on(&x, index);
		map_done(&x.seen);
		return;
	}
	/* What was all delivered before, as two names of one mailbox, is delivered. */
	if (!x.has_outcome)
		x.worst = outcome_of(j, "2.0.0", "delivered already");
	outcome_report(j, &x.worst, index);
	map_done(&x.seen);
}

void agent_local(struct job *j)
{
	for (uint32_t i = 0; i < j->envelope.recipient_count; i++)
		deliver_recipient(j, i);
}
