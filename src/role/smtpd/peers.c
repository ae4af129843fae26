/* SPDX-License-Identifier: Apache-2.0 */
/* The channels to the other roles: the spool's segments come from qmgr, passwords are checked by lookup. */
#include <errno.h>

#include "base/log.h"
#include "fiber/fiber.h"
#include "sasl/server.h"
#include "smtpd.h"

enum { AUTH_WAIT_S = 30 };

/* --- qmgr ----------------------------------------------------------------------- */

static void tell_qmgr(const struct message *m)
{
	/* Without a qmgr nothing is lost: the next one is told by appender_reset(). */
	if (smtpd.qmgr && channel_send(smtpd.qmgr, m))
		log_warn("qmgr cannot be told %s", message_name(m->type));
}

static void want_segment(void *arg)
{
	tell_qmgr(&(struct message){.type = MESSAGE_SEGMENT_WANTED});
}

static void queued(void *arg, uint32_t segment, uint32_t epoch, uint64_t end, int is_sealed)
{
	struct message m = {.type = MESSAGE_QUEUED, .queued = {.segment = segment, .epoch = epoch, .end = end}};

	if (is_sealed)
		m = (struct message){.type = MESSAGE_SEGMENT_SEALED,
		                     .segment_sealed = {.segment = segment, .epoch = epoch, .end = end}};
	tell_qmgr(&m);
}

static void want_large(void *arg, uint64_t token)
{
	tell_qmgr(&(struct message){.type = MESSAGE_LARGE_WANTED, .large_wanted = {.token = token}});
}

static void drop_large(void *arg, uint64_t number)
{
	tell_qmgr(&(struct message){.type = MESSAGE_LARGE_DROPPED, .large_dropped = {.number = number}});
}

void peers_init(void)
{
	static const struct append_owner owner = {
		.want_segment = want_segment, .queued = queued, .want_large = want_large, .drop_large = drop_large};

	list_init(&smtpd.asking);
	smtpd.appender = appender_new(&owner);
}

static void handle_spool(const struct message *m)
{
	switch (m->type) {
	case MESSAGE_SEGMENT_GRANT:
		appender_grant(smtpd.appender, m->fd, m->segment_grant.segment, m->segment_grant.epoch, m->segment_grant.size);
		break;
	case MESSAGE_SEGMENT_REFUSED:
		appender_refuse(smtpd.appender, (int)m->segment_refused.error);
		break;
	case MESSAGE_LARGE_GRANT:
		appender_large_grant(smtpd.appender, m->large_grant.token, m->fd, m->large_grant.number);
		break;
	case MESSAGE_LARGE_REFUSED:
		appender_large_refuse(smtpd.appender, m->large_refused.token, (int)m->large_refused.error);
		break;
	default:
		log_warn("qmgr sent %s at a wrong moment", message_name(m->type));
	}
}

bool peers_handle(const struct message *m)
{
	switch (m->type) {
	case MESSAGE_SEGMENT_GRANT:
	case MESSAGE_SEGMENT_REFUSED:
	case MESSAGE_LARGE_GRANT:
	case MESSAGE_LARGE_REFUSED:
		handle_spool(m);
		return true;
	default:
		return false;
	}
}

/* --- lookup ---------------------------------------------------------------------- */

struct question {
	struct list link;
	uint64_t token;
	struct wait_list done;
	bool has_answer;
	enum sasl_status status;
	struct buf *reason;
};

static enum sasl_status status_of(uint8_t result)
{
	return result == AUTH_OK ? SASL_OK : result == AUTH_REFUSED ? SASL_FAILED : SASL_TRY_LATER;
}

static void take_answer(const struct message_auth_answer *a)
{
	LIST_EACH(&smtpd.asking, it) {
		struct question *q = LIST_ENTRY(it, struct question, link);

		if (q->token != a->token)
			continue;
		q->has_answer = true;
		q->status = status_of(a->result);
		buf_add(q->reason, a->reason);
		(void)wait_list_wake_one(&q->done);
		return;
	}
}

enum sasl_status peers_check_password(void *arg, struct str service, struct str username, struct str password, struct buf *reason)
{
	struct question q = {.token = ++smtpd.last_token, .status = SASL_TRY_LATER, .reason = reason};
	struct message m = {.type = MESSAGE_AUTH_CHECK,
	                    .auth_check = {.token = q.token, .service = service, .username = username, .password = password}};
	struct instant deadline = clock_deadline(duration_s(AUTH_WAIT_S));
	int err = 0;

	if (!smtpd.lookup || channel_send(smtpd.lookup, &m)) {
		buf_add(reason, STR("the password service is not available"));
		return SASL_TRY_LATER;
	}
	wait_list_init(&q.done);
	list_add(&smtpd.asking, &q.link);
	while (!q.has_answer && !err)
		err = wait_list_wait(&q.done, deadline);
	list_remove(&q.link);
	if (err && !q.has_answer)
		buf_add(reason, STR("the password service did not answer"));
	return q.status;
}

static void serve_lookup(void *arg)
{
	struct channel *ch = arg;
	struct message m;
	int err;

	while (!(err = channel_recv(ch, INSTANT_NEVER, &m)))
		if (m.type == MESSAGE_AUTH_ANSWER)
			take_answer(&m.auth_answer);
	if (err == -EBADMSG)
		log_warn("lookup sent what is no message");
	if (smtpd.lookup == ch)
		smtpd.lookup = NULL;
	channel_free(ch);
}

/* --- new peers -------------------------------------------------------------------- */

static void reset_appender(void *arg)
{
	appender_reset(smtpd.appender);
}

void peers_lost(struct channel *ch)
{
	if (smtpd.qmgr == ch)
		smtpd.qmgr = NULL;
}

void peers_add(enum ipc_role role, struct channel *ch)
{
	static bool had_qmgr;

	if (role == ROLE_LOOKUP) {
		smtpd.lookup = ch;
		fiber_start("lookup", serve_lookup, ch);
		return;
	}
	if (role == ROLE_QMGR) {
		smtpd.qmgr = ch;
		/* What was written for an earlier qmgr is told to this one; the first is only asked for a segment. */
		if (had_qmgr)
			fiber_start("reset", reset_appender, NULL);
		else
			want_segment(NULL);
		had_qmgr = true;
	}
	submit_add(ch, role == ROLE_QMGR ? SUBMIT_FROM_QMGR : SUBMIT_FROM_LOCAL);
}
