/* SPDX-License-Identifier: Apache-2.0 */
/* The local socket: what mailq, postqueue and postsuper ask, and who may ask it. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "config/params.h"
#include "ipc/visitors.h"
#include "mail/address.h"
#include "mail/queue_id.h"
#include "role/qmgr/control.h"
#include "table/table.h"
#include "table/user_list.h"

enum { SESSIONS_MAX = 100, SESSIONS_OF_USER = 20, SESSIONS_RESERVED = 20, IDLE_TIME = 300, REQUEUE_AHEAD = 100 };

static struct visitors sessions;

/* The answer: counts and words. */
struct answer {
	int error;
	uint64_t count;
	struct buf text;
};

/* --- what is at work ------------------------------------------------------------------------ */

/* Whatever happens to the deliveries under way or to us: it does not come back. */
static void delete_work(struct qmgr *q, struct message_work *w)
{
	w->is_deleted = true;
	for (uint32_t i = 0; i < w->m->envelope.recipient_count; i++)
		spool_mark_done(q->spool, w->m, i);
}

static bool change_work(struct qmgr *q, struct str id, enum queue_change what)
{
	struct message_work *w = map_find(&q->works, id);

	if (!w || what == CHANGE_RELEASE || what == CHANGE_RETRY)
		return false;
	if (what == CHANGE_DELETE)
		delete_work(q, w);
	w->is_held |= what == CHANGE_HOLD;
	w->is_requeued |= what == CHANGE_REQUEUE;
	if (what == CHANGE_EXPIRE || what == CHANGE_EXPIRE_RELEASE)
		w->m->flags |= SPOOL_EXPIRED;
	else
		job_withdraw(q, w);
	return true;
}

struct queue_ids queue_ids_at_work(const struct qmgr *q)
{
	struct queue_ids ids = {.ids = mem_alloc((map_count(&q->works) + 1) * sizeof *ids.ids)};
	size_t at = 0;
	struct str id;

	while (map_next(&q->works, &at, &id, NULL)) {
		memcpy(ids.ids[ids.count].id, id.ptr, size_min(id.len, QUEUE_ID_SIZE - 1));
		ids.count++;
	}
	return ids;
}

static uint64_t change_works(struct qmgr *q, struct str id, enum queue_change what)
{
	struct queue_ids ids;
	uint64_t count = 0;

	if (id.len)
		return change_work(q, id, what);
	ids = queue_ids_at_work(q);
	for (size_t i = 0; i < ids.count; i++)
		count += change_work(q, str_of(ids.ids[i].id), what);
	free(ids.ids);
	return count;
}

/* --- what is in the index -------------------------------------------------------------------- */

static int requeue_one(struct qmgr *q, struct str id)
{
	struct spool_message *m;
	int err = spool_take(q->spool, id, &m);
	struct message_work *w;

	if (err)
		return err;
	m->flags &= ~(uint32_t)SPOOL_HELD;
	activate_begin(q, m, true);
	w = m->arg;
	w->is_requeued = true;
	return 0;
}

static int requeue_all(struct qmgr *q, uint64_t *ret_count)
{
	const struct spool_message *m;
	struct spool_list *list;
	int err = spool_list_open(q->spool, &list);

	if (err)
		return err;
	while (!(err = spool_list_next(list, &m))) {
		char id[QUEUE_ID_SIZE];

		memcpy(id, m->envelope.queue_id, sizeof id);
		*ret_count += requeue_one(q, str_of(id)) == 0;
		while (!err && q->due_count > REQUEUE_AHEAD)
			err = fiber_sleep(duration_ms(10));
		if (err)
			break;
	}
	spool_list_close(list);
	return err == -ENOENT ? 0 : err;
}

static int change_index(struct qmgr *q, struct str id, enum queue_change what, uint64_t *count)
{
	static const enum spool_change changes[] = {
		[CHANGE_HOLD] = SPOOL_HOLD,     [CHANGE_RELEASE] = SPOOL_RELEASE,       [CHANGE_DELETE] = SPOOL_DELETE,
		[CHANGE_EXPIRE] = SPOOL_EXPIRE, [CHANGE_EXPIRE_RELEASE] = SPOOL_EXPIRE, [CHANGE_RETRY] = SPOOL_RETRY,
	};
	uint64_t changed = 0, ignored = 0;
	int err;

	if (what == CHANGE_REQUEUE && id.len) {
		err = requeue_one(q, id);
		changed = err == 0;
	} else if (what == CHANGE_REQUEUE) {
		err = requeue_all(q, &changed);
	} else {
		err = spool_change(q->spool, id, changes[what], &changed);
		/* Force-expired mail waits for nobody: out of hold, and at once. */
		if (!err && changed && what == CHANGE_EXPIRE_RELEASE)
			err = spool_change(q->spool, id, SPOOL_RELEASE, &ignored);
		if (!err && changed && (what == CHANGE_EXPIRE || what == CHANGE_EXPIRE_RELEASE))
			err = spool_change(q->spool, id, SPOOL_RETRY, &ignored);
	}
	*count += changed;
	due_wake(q);
	return err == -ENOENT || err == -EBUSY ? 0 : err;
}

static void log_change(struct qmgr *q, struct str id, enum queue_change what, uint64_t count)
{
	static const char *const words[] = {
		[CHANGE_HOLD] = "placed on hold", [CHANGE_RELEASE] = "released from hold",
		[CHANGE_DELETE] = "removed",      [CHANGE_REQUEUE] = "requeued",
		[CHANGE_EXPIRE] = "expired",      [CHANGE_EXPIRE_RELEASE] = "expired",
	};
	char tag[160];

	if (!count || what == CHANGE_RETRY)
		return;
	snprintf(tag, sizeof tag, "%.*s/postsuper", STR_ARG(q->settings->view->params->syslog_name));
	if (id.len)
		log_tagged(str_of(tag), LOG_LEVEL_INFO, "%.*s: %s", STR_ARG(id), words[what]);
	else
		log_tagged(str_of(tag), LOG_LEVEL_INFO, "%llu messages %s", (unsigned long long)count, words[what]);
}

/* `id` empty for all messages. */
static void change(struct qmgr *q, struct str id, enum queue_change what, struct answer *a)
{
	a->count = change_works(q, id, what);
	if (!id.len || !a->count)
		a->error = change_index(q, id, what, &a->count);
	log_change(q, id, what, a->count);
}

/* --- flush ---------------------------------------------------------------------------------------- */

static void flush_all(struct qmgr *q)
{
	schedule_revive(q->schedule);
	spool_flush(q->spool);
	due_wake(q);
	job_pump(q);
}

static bool has_site(const struct spool_message *m, struct str site)
{
	for (uint32_t i = 0; i < m->envelope.recipient_count; i++)
		if (!m->recipients[i].is_done && str_eq_nocase(address_domain(m->envelope.recipients[i].address), site))
			return true;
	return false;
}

/* Only sites of $fast_flush_domains: for others nobody promised that mail is kept for a call. */
static int check_site(struct qmgr *q, struct str site, struct buf *why)
{
	const struct view *v = q->settings->view;
	struct match_list *sites;
	int err = match_list_open(v->params->fast_flush_domains, MATCH_DOMAIN, MATCH_PARENTS, v, &sites, why);

	if (err)
		return err;
	err = match_list_check(sites, site, why);
	match_list_close(sites);
	if (err == 0)
		buf_addf(why, "Flush service is not configured for destination \"%.*s\"", STR_ARG(site));
	return err > 0 ? 0 : err < 0 ? err : -EINVAL;
}

static int flush_site(struct qmgr *q, struct str site, struct answer *a)
{
	const struct spool_message *m;
	struct spool_list *list;
	int err = check_site(q, site, &a->text);

	if (!err)
		err = spool_list_open(q->spool, &list);
	if (err)
		return err;
	while (!(err = spool_list_next(list, &m))) {
		char id[QUEUE_ID_SIZE];

		if (!has_site(m, site))
			continue;
		memcpy(id, m->envelope.queue_id, sizeof id);
		err = change_index(q, str_of(id), CHANGE_RETRY, &a->count);
		if (err)
			break;
	}
	spool_list_close(list);
	schedule_revive(q->schedule);
	due_wake(q);
	return err == -ENOENT ? 0 : err;
}

/* --- who may ---------------------------------------------------------------------------------------- */

static bool is_admin(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

/* authorized_mailq_users, authorized_flush_users. */
static bool is_authorized(struct qmgr *q, uid_t uid, struct str users)
{
	struct buf why = BUF_INIT(1000);
	int result = is_admin(uid) ? 1 : user_list_check(users, uid, q->settings->view, &why);

	if (result < 0)
		log_warn("a list of authorized users: %s", buf_cstr(&why));
	buf_done(&why);
	return result > 0;
}

/* --- requests --------------------------------------------------------------------------------------- */

enum right { RIGHT_MAILQ, RIGHT_FLUSH, RIGHT_ADMIN };

static const struct request {
	const char *name;
	enum right right;
	enum { DO_LIST, DO_FLUSH, DO_FLUSH_SITE, DO_CHANGE } action;
	enum queue_change change;
} requests[] = {
	{"list", RIGHT_MAILQ, DO_LIST, 0},
	{"flush", RIGHT_FLUSH, DO_FLUSH, 0},
	{"flush-site", RIGHT_FLUSH, DO_FLUSH_SITE, 0},
	{"flush-id", RIGHT_FLUSH, DO_CHANGE, CHANGE_RETRY},
	{"hold", RIGHT_ADMIN, DO_CHANGE, CHANGE_HOLD},
	{"release", RIGHT_ADMIN, DO_CHANGE, CHANGE_RELEASE},
	{"delete", RIGHT_ADMIN, DO_CHANGE, CHANGE_DELETE},
	{"requeue", RIGHT_ADMIN, DO_CHANGE, CHANGE_REQUEUE},
	{"expire", RIGHT_ADMIN, DO_CHANGE, CHANGE_EXPIRE},
	{"expire-release", RIGHT_ADMIN, DO_CHANGE, CHANGE_EXPIRE_RELEASE},
};

static const struct request *find_request(struct str name)
{
	for (size_t i = 0; i < COUNT_OF(requests); i++)
		if (str_eq(name, str_of(requests[i].name)))
			return &requests[i];
	return NULL;
}

static bool is_allowed(struct qmgr *q, uid_t uid, enum right right)
{
	const struct params *p = q->settings->view->params;

	switch (right) {
	case RIGHT_MAILQ:
		return is_authorized(q, uid, p->authorized_mailq_users);
	case RIGHT_FLUSH:
		return is_authorized(q, uid, p->authorized_flush_users);
	default:
		return is_admin(uid);
	}
}

static void run_request(struct qmgr *q, struct channel *ch, const struct request *r, struct str argument, struct answer *a)
{
	bool is_all = str_eq(argument, STR("ALL"));

	if (r->action == DO_LIST) {
		a->error = listing_send(q, ch, &a->count);
	} else if (r->action == DO_FLUSH) {
		flush_all(q);
	} else if (r->action == DO_FLUSH_SITE) {
		a->error = flush_site(q, argument, a);
	} else if (!is_all && !queue_id_is_valid(argument)) {
		a->error = -EINVAL;
		buf_addf(&a->text, "bad queue id");
	} else {
		if (r->change == CHANGE_RETRY)
			schedule_revive(q->schedule);
		change(q, is_all ? STR("") : argument, r->change, a);
	}
}

static int answer_request(struct qmgr *q, struct channel *ch, uid_t uid, const struct message_queue_request *ask)
{
	const struct request *r = find_request(ask->what);
	struct answer a = {.text = BUF_INIT(2000)};
	struct message end = {.type = MESSAGE_QUEUE_END};
	struct spool_visit visit;
	char *argument = str_cstr(str_cut(ask->argument, 0, 1000));
	int err;

	if (!r) {
		a.error = -EINVAL;
		buf_addf(&a.text, "unknown request");
	} else if (!is_allowed(q, uid, r->right)) {
		a.error = -EPERM;
		buf_addf(&a.text, "permission denied");
	} else if (!qmgr_enter_spool(q, &visit)) {
		a.error = -ESHUTDOWN;
		buf_addf(&a.text, "the mail system is going down");
	} else {
		run_request(q, ch, r, str_of(argument), &a);
		qmgr_leave_spool(q, &visit);
	}
	end.queue_end = (struct message_queue_end){.error = (uint32_t)-a.error, .count = a.count, .text = buf_str(&a.text)};
	err = channel_send(ch, &end);
	buf_done(&a.text);
	free(argument);
	return err;
}

struct session {
	struct qmgr *q;
	struct channel *ch;
};

static void serve_requests(struct session *s, struct visitor *who)
{
	struct message m;
	int err = 0;

	while (!err) {
		err = channel_recv(s->ch, clock_deadline(duration_s(IDLE_TIME)), &m);
		if (err)
			break;
		if (m.fd >= 0)
			close(m.fd);
		visitor_set_quiet(who, false);
		err = m.type == MESSAGE_QUEUE_REQUEST ? answer_request(s->q, s->ch, who->uid, &m.queue_request) : -EBADMSG;
		visitor_set_quiet(who, true);
	}
}

static void turn_away(struct channel *ch)
{
	struct message end = {.type = MESSAGE_QUEUE_END,
	                      .queue_end = {.error = EAGAIN, .text = STR("too many ask at once; try again later")}};

	if (channel_send(ch, &end))
		log_debug("a command did not wait for its answer");
}

static void serve(void *arg)
{
	struct session *s = arg;
	struct visitor who;
	uid_t uid;

	if (channel_peer_uid(s->ch, &uid) == 0) {
		if (visitors_enter(&sessions, &who, uid))
			serve_requests(s, &who);
		else
			turn_away(s->ch);
		visitors_leave(&who);
	}
	channel_free(s->ch);
	free(s);
}

struct endpoint {
	struct qmgr *q;
	struct watch watch;
};

static void accept_all(void *arg)
{
	struct endpoint *e = arg;
	int err = 0;

	while (!err) {
		struct session *s;
		struct channel *ch;

		err = channel_accept(&e->watch, &ch);
		if (err == -EMFILE || err == -ENFILE || err == -ENOMEM) {
			err = fiber_sleep(duration_ms(100));
		} else if (!err) {
			s = mem_alloc(sizeof *s);
			*s = (struct session){e->q, ch};
			fiber_start("control", serve, s);
			/* Those who are turned away go before the next ones come. */
			err = fiber_yield();
		}
	}
	watch_done(&e->watch);
	close(e->watch.fd);
	free(e);
}

void control_start(struct qmgr *q, int fd)
{
	struct endpoint *e = mem_alloc(sizeof *e);

	e->q = q;
	visitors_init(&sessions, SESSIONS_MAX, SESSIONS_OF_USER, SESSIONS_RESERVED);
	watch_init(&e->watch, fd);
	fiber_start("control", accept_all, e);
}
