/* SPDX-License-Identifier: Apache-2.0 */
/* The channels to the other roles: the spool's segments come from qmgr, clients log in by way of lookup. */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "fiber/fiber.h"
#include "smtpd.h"

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

	list_init(&smtpd.lookups);
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

enum { LEAVING_CHECK_S = 5 };

/* A lookup process. One that leaves is let go when no dialogue needs it any more. */
struct lookup_peer {
	struct list link;
	uint32_t id;
	struct channel *channel;
	struct fiber *fiber;
	bool is_leaving;
};

/* The last one stays, for sessions that outlive it: it goes when we do. */
static bool may_go(const struct lookup_peer *peer)
{
	return peer->is_leaving && !sasl_remote_uses(smtpd.sasl, peer->channel);
}

static void serve_lookup(void *arg)
{
	struct lookup_peer *peer = arg;
	struct message m;
	int err = 0;

	while (!may_go(peer) && (!err || err == -ETIMEDOUT)) {
		/* A dialogue that its client gives up ends without a message to us. */
		struct instant deadline = peer->is_leaving ? clock_deadline(duration_s(LEAVING_CHECK_S)) : INSTANT_NEVER;

		err = channel_recv(peer->channel, deadline, &m);
		if (!err && !sasl_remote_take(smtpd.sasl, &m))
			log_warn("lookup sent %s at a wrong moment", message_name(m.type));
	}
	if (err == -EBADMSG)
		log_warn("lookup sent what is no message");
	sasl_remote_lost(smtpd.sasl, peer->channel);
	list_remove(&peer->link);
	channel_free(peer->channel);
	free(peer);
}

static void let_go(void)
{
	LIST_EACH(&smtpd.lookups, it) {
		struct lookup_peer *peer = LIST_ENTRY(it, struct lookup_peer, link);

		if (may_go(peer))
			fiber_cancel(peer->fiber);
	}
}

static void add_lookup(uint32_t id, struct channel *ch)
{
	struct lookup_peer *peer = mem_alloc(sizeof(*peer));

	peer->id = id;
	peer->channel = ch;
	list_add(&smtpd.lookups, &peer->link);
	sasl_remote_set_channel(smtpd.sasl, ch);
	peer->fiber = fiber_start("lookup", serve_lookup, peer);
	let_go();
}

static void drain_lookup(uint32_t id)
{
	LIST_EACH(&smtpd.lookups, it) {
		struct lookup_peer *peer = LIST_ENTRY(it, struct lookup_peer, link);

		peer->is_leaving |= peer->id == id;
	}
	let_go();
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

void peers_drain(enum ipc_role role, uint32_t id)
{
	if (role == ROLE_LOOKUP)
		drain_lookup(id);
}

void peers_add(enum ipc_role role, uint32_t id, struct channel *ch)
{
	static bool had_qmgr;

	if (role == ROLE_LOOKUP) {
		add_lookup(id, ch);
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
