/* SPDX-License-Identifier: Apache-2.0 */
/* The other processes: one fiber reads what each of them says. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "role/qmgr/qmgr.h"

static bool is_deliverer(const struct peer *p)
{
	return p->role == ROLE_SMTP || p->role == ROLE_LOCAL;
}

/* --- files that deliverers have open ------------------------------------------------------- */

enum file_kind { FILE_SEGMENT = 'S', FILE_LARGE = 'L' };

struct file_key {
	char bytes[9];
};

static struct file_key file_key(enum file_kind kind, uint64_t number)
{
	struct file_key k = {{(char)kind}};

	memcpy(k.bytes + 1, &number, sizeof number);
	return k;
}

static struct str key_str(const struct file_key *k)
{
	return str_n(k->bytes, sizeof k->bytes);
}

static int open_file(struct peer *p, const struct spool_message *m, struct file_key key)
{
	struct message open = {.type = m->large ? MESSAGE_LARGE_OPEN : MESSAGE_SEGMENT_OPEN};
	int err;

	if (m->large) {
		open.large_open.number = m->large;
		err = spool_large_fd(p->q->spool, m, &open.fd);
	} else {
		open.segment_open = (struct message_segment_open){.segment = m->ref.segment, .epoch = m->ref.epoch};
		err = spool_segment_fd(p->q->spool, m, &open.fd);
	}
	if (!err)
		err = channel_send(p->channel, &open);
	if (!err)
		map_set(&p->files, key_str(&key), p);
	return err;
}

int peer_open_content(struct peer *p, const struct spool_message *m)
{
	struct file_key key =
		m->large ? file_key(FILE_LARGE, m->large) : file_key(FILE_SEGMENT, (uint64_t)m->ref.epoch << 32 | m->ref.segment);

	return map_find(&p->files, key_str(&key)) ? 0 : open_file(p, m, key);
}

static void close_file(struct qmgr *q, struct file_key key, const struct message *m)
{
	LIST_EACH(&q->peers, it) {
		struct peer *p = LIST_ENTRY(it, struct peer, link);

		/* A peer that cannot be told is at its end, and so are its files. */
		if (map_remove(&p->files, key_str(&key)) && channel_send(p->channel, m))
			continue;
	}
}

void peer_close_segment(struct qmgr *q, uint32_t segment, uint32_t epoch)
{
	struct message m = {.type = MESSAGE_SEGMENT_CLOSE, .segment_close = {.segment = segment, .epoch = epoch}};

	close_file(q, file_key(FILE_SEGMENT, (uint64_t)epoch << 32 | segment), &m);
}

void peer_close_large(struct qmgr *q, uint64_t number)
{
	struct message m = {.type = MESSAGE_LARGE_CLOSE, .large_close = {.number = number}};

	close_file(q, file_key(FILE_LARGE, number), &m);
}

/* --- receivers ask for files ------------------------------------------------------------------ */

static void peer_unref(struct peer *p)
{
	if (--p->waits || !p->is_gone)
		return;
	channel_free(p->channel);
	map_done(&p->files);
	free(p);
}

static void peer_send(struct peer *p, const struct message *m)
{
	int err = p->is_gone ? 0 : channel_send(p->channel, m);

	if (err && err != -EPIPE)
		log_warn("%s process %u cannot be told %s: %s", ipc_role_name(p->role), p->id, message_name(m->type),
		         strerror(-err));
}

static void grant_segment(void *arg)
{
	struct peer *p = arg;
	struct spool_grant grant;
	struct message m = {.type = MESSAGE_SEGMENT_GRANT};
	struct spool_visit visit;
	int err = -ESHUTDOWN;

	if (qmgr_enter_spool(p->q, &visit)) {
		err = spool_grant(p->q->spool, &grant);
		qmgr_leave_spool(p->q, &visit);
	}
	if (err) {
		log_warn("no segment for new mail: %s", strerror(-err));
		m = (struct message){.type = MESSAGE_SEGMENT_REFUSED, .segment_refused = {.error = (uint32_t)-err}};
		peer_send(p, &m);
	} else {
		m.fd = grant.fd;
		m.segment_grant =
			(struct message_segment_grant){.segment = grant.segment, .epoch = grant.epoch, .size = grant.size};
		peer_send(p, &m);
		close(grant.fd);
	}
	peer_unref(p);
}

struct large_ask {
	struct peer *peer;
	uint64_t token;
};

static void grant_large(void *arg)
{
	struct large_ask *ask = arg;
	struct message m = {.type = MESSAGE_LARGE_GRANT, .large_grant = {.token = ask->token}};
	struct qmgr *q = ask->peer->q;
	struct spool_visit visit;
	int err = -ESHUTDOWN;

	if (qmgr_enter_spool(q, &visit)) {
		err = spool_large_new(q->spool, &m.fd, &m.large_grant.number);
		qmgr_leave_spool(q, &visit);
	}
	if (err) {
		log_warn("no file for a large message: %s", strerror(-err));
		m = (struct message){.type = MESSAGE_LARGE_REFUSED,
		                     .large_refused = {.token = ask->token, .error = (uint32_t)-err}};
		peer_send(ask->peer, &m);
	} else {
		peer_send(ask->peer, &m);
		close(m.fd);
	}
	peer_unref(ask->peer);
	free(ask);
}

static void want_large(struct peer *p, uint64_t token)
{
	struct large_ask *ask = mem_alloc(sizeof *ask);

	*ask = (struct large_ask){p, token};
	p->waits++;
	fiber_start("grant", grant_large, ask);
}

static void want_segment(struct peer *p)
{
	p->waits++;
	fiber_start("grant", grant_segment, p);
}

/* --- messages ----------------------------------------------------------------------------------- */

static int from_receiver(struct peer *p, const struct message *m)
{
	/* At our end; the next owner looks for what was appended. */
	if (!p->q->is_spool_open)
		return 0;
	switch (m->type) {
	case MESSAGE_SEGMENT_WANTED:
		want_segment(p);
		return 0;
	case MESSAGE_QUEUED:
		return spool_queued(p->q->spool, m->queued.segment, m->queued.epoch, m->queued.end, false);
	case MESSAGE_SEGMENT_SEALED:
		return spool_queued(p->q->spool, m->segment_sealed.segment, m->segment_sealed.epoch, m->segment_sealed.end, true);
	case MESSAGE_LARGE_WANTED:
		want_large(p, m->large_wanted.token);
		return 0;
	case MESSAGE_LARGE_DROPPED:
		spool_large_drop(p->q->spool, m->large_dropped.number);
		return 0;
	case MESSAGE_SUBMITTED:
		submit_answered(p, &m->submitted);
		return 0;
	default:
		return -EBADMSG;
	}
}

static int from_deliverer(struct peer *p, const struct message *m)
{
	if (!p->q->is_spool_open)
		return 0;
	switch (m->type) {
	case MESSAGE_DELIVERED:
		return job_result(p, &m->delivered);
	case MESSAGE_PASS_ON:
		return job_pass(p, &m->pass_on);
	case MESSAGE_JOB_DONE:
		return job_end(p, &m->job_done);
	default:
		return -EBADMSG;
	}
}

static void peer_gone(struct peer *p)
{
	p->is_gone = true;
	list_remove(&p->link);
	if (!p->q->is_spool_open)
		;
	else if (is_deliverer(p))
		job_peer_gone(p);
	else
		spool_writer_gone(p->q->spool);
	submit_peer_gone(p);
	peer_unref(p);
}

static void serve(void *arg)
{
	struct peer *p = arg;
	struct message m;
	int err;

	while (!(err = channel_recv(p->channel, INSTANT_NEVER, &m))) {
		err = is_deliverer(p) ? from_deliverer(p, &m) : from_receiver(p, &m);
		if (m.fd >= 0)
			close(m.fd);
		if (err) {
			log_warn("%s process %u sent a wrong %s", ipc_role_name(p->role), p->id, message_name(m.type));
			break;
		}
	}
	peer_gone(p);
}

void peer_add(struct qmgr *q, enum ipc_role role, uint32_t id, struct channel *ch)
{
	struct peer *p = mem_alloc(sizeof *p);

	p->q = q;
	p->role = role;
	p->id = id;
	p->channel = ch;
	p->waits = 1;
	list_init(&p->jobs);
	list_init(&p->submits);
	list_add(&q->peers, &p->link);
	fiber_start("peer", serve, p);
	if (is_deliverer(p))
		job_peer_came(p);
}

void peer_draining(struct qmgr *q, enum ipc_role role, uint32_t id)
{
	LIST_EACH(&q->peers, it) {
		struct peer *p = LIST_ENTRY(it, struct peer, link);

		if (p->role == role && p->id == id)
			p->is_draining = true;
	}
}
