/* SPDX-License-Identifier: Apache-2.0 */
/*
 * smtpd_sasl_type = cyrus, in the lookup role: hands dialogues to worker processes (cyrus.h). A
 * worker serves one dialogue at a time and is kept for the next. There is a limit to their number; at the limit
 * a dialogue that waits for its client gives its worker up to one that does not.
 */
#include "sasl/cyrus.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "fiber/fiber.h"
#include "ipc/helper.h"
#include "sasl/server_internal.h"

enum {
	WORKERS_MAX = 100,
	IDLE_MAX = 10,
	WORKER_TIMEOUT_S = 10, /* to wait for one at the limit */
	ANSWER_TIMEOUT_S = CYRUS_CALL_LIMIT_S + 10,
};

/* Of a sasl_server. */
struct cyrus {
	struct str path, config_path; /* workers differ by these */
	bool is_known;
	struct mechanism_list list;
	char why[200];
};

struct worker {
	struct list link; /* in pool.idle, or in pool.busy in the order in which they began to wait for their client */
	struct channel *channel;
	struct str path, config_path;
	struct sasl_exchange *exchange;
	bool waits_for_client;
};

static struct {
	struct channel *nursery;
	bool is_lost; /* the nursery; only a new lookup process can start another one */
	struct list busy, idle;
	size_t idle_count, count;
	struct wait_list freed;
} pool;

/* --- the nursery ------------------------------------------------------------------------------------- */

static int start_nursery(const struct params *p, struct buf *why)
{
	int err = helper_start(CYRUS_PROGRAM, p->mail_owner, &pool.nursery, why);

	if (err)
		return err;
	list_init(&pool.busy);
	list_init(&pool.idle);
	wait_list_init(&pool.freed);
	return 0;
}

static int cyrus_open(struct sasl_server *s, struct buf *why)
{
	const struct params *p = s->params;
	struct cyrus *c = mem_alloc(sizeof(*c));

	s->state = c;
	c->path = p->smtpd_sasl_path;
	c->config_path = p->cyrus_sasl_config_path;
	/* Debian's place first, then Cyrus SASL's own. */
	if (str_is_empty(c->config_path))
		c->config_path = arena_printf(&s->arena, "%.*s/sasl:/etc/sasl2:/usr/lib/sasl2", STR_ARG(p->config_directory));
	return pool.nursery ? 0 : start_nursery(p, why);
}

/* --- workers --------------------------------------------------------------------------------------------- */

static void worker_free(struct worker *w)
{
	list_remove(&w->link);
	channel_free(w->channel);
	free(w);
	pool.count--;
	(void)wait_list_wake_one(&pool.freed);
}

static void cyrus_close(struct sasl_server *s)
{
	free(s->state);
	s->state = NULL;
}

static int worker_new(const struct cyrus *c, struct worker **ret_worker)
{
	struct message m = {.type = MESSAGE_CYRUS_WORKER, .cyrus_worker = {.path = c->path, .config_path = c->config_path}};
	struct channel *channel;
	struct worker *w;
	int err = helper_fork(pool.nursery, &m, &channel);

	pool.is_lost |= err == -EPIPE;
	if (err)
		return err;
	w = mem_alloc(sizeof(*w));
	w->channel = channel;
	w->path = c->path;
	w->config_path = c->config_path;
	list_add(&pool.busy, &w->link);
	pool.count++;
	*ret_worker = w;
	return 0;
}

/* An idle worker, which has other settings than are wanted, goes, or that of a dialogue that waits for its client. */
static bool make_room(void)
{
	struct list *idle = list_first(&pool.idle);

	if (idle) {
		pool.idle_count--;
		worker_free(LIST_ENTRY(idle, struct worker, link));
		return true;
	}
	LIST_EACH(&pool.busy, it) {
		struct worker *w = LIST_ENTRY(it, struct worker, link);

		if (!w->waits_for_client)
			continue;
		w->exchange->state = NULL;
		worker_free(w);
		return true;
	}
	return false;
}

static struct worker *find_idle(const struct cyrus *c)
{
	LIST_EACH(&pool.idle, it) {
		struct worker *w = LIST_ENTRY(it, struct worker, link);

		if (str_eq(w->path, c->path) && str_eq(w->config_path, c->config_path))
			return w;
	}
	return NULL;
}

static int take_worker(const struct cyrus *c, struct worker **ret_worker)
{
	struct instant deadline = clock_deadline(duration_s(WORKER_TIMEOUT_S));

	for (;;) {
		struct worker *w = find_idle(c);
		int err;

		if (w) {
			pool.idle_count--;
			list_remove(&w->link);
			list_add(&pool.busy, &w->link);
			*ret_worker = w;
			return 0;
		}
		if (pool.count < WORKERS_MAX || make_room())
			return worker_new(c, ret_worker);
		err = wait_list_wait(&pool.freed, deadline);
		if (err)
			return err;
	}
}

static void put_worker(struct worker *w)
{
	w->exchange = NULL;
	w->waits_for_client = false;
	if (pool.idle_count >= IDLE_MAX) {
		worker_free(w);
		return;
	}
	list_remove(&w->link);
	list_add_first(&pool.idle, &w->link);
	pool.idle_count++;
	(void)wait_list_wake_one(&pool.freed);
}

static int ask(struct worker *w, const struct message *question, enum message_type type, struct message *ret_answer)
{
	int err = channel_send(w->channel, question);

	if (!err)
		err = channel_recv(w->channel, clock_deadline(duration_s(ANSWER_TIMEOUT_S)), ret_answer);
	if (!err && ret_answer->type != type)
		err = -EBADMSG;
	return err;
}

static const struct mechanism_list *cyrus_mechanisms(struct sasl_server *s, const char **ret_why)
{
	struct cyrus *c = s->state;
	struct worker *w;
	struct message answer, m = {.type = MESSAGE_CYRUS_LIST,
	                            .cyrus_list = {.service = s->params->smtpd_sasl_service,
	                                           .host = s->params->myhostname,
	                                           .realm = s->params->smtpd_sasl_local_domain}};
	int err;

	if (c->is_known)
		return &c->list;
	err = take_worker(c, &w);
	if (!err) {
		err = ask(w, &m, MESSAGE_AUTH_OFFER, &answer);
		if (!err) {
			c->list.count = 0;
			mechanism_list_parse(&c->list, answer.auth_offer.mechanisms);
			c->is_known = c->list.count > 0;
			snprintf(c->why, sizeof(c->why), "Cyrus SASL: %.*s", STR_ARG(answer.auth_offer.reason));
			put_worker(w);
		} else {
			worker_free(w);
		}
	}
	if (c->is_known)
		return &c->list;
	*ret_why = err ? "Cyrus SASL does not answer" : c->why;
	return NULL;
}

/* --- dialogues ------------------------------------------------------------------------------------------------ */

static void cyrus_end(struct sasl_exchange *x)
{
	/* Half-way or even inside a call: the worker has nothing else to do, so it goes as well. */
	worker_free(x->state);
	x->state = NULL;
}

static void take_answer(struct sasl_exchange *x, const struct message_auth_answer *m, struct sasl_result *ret)
{
	struct worker *w = x->state;
	struct str reason = str_is_empty(m->reason) ? STR("authentication failure") : m->reason;

	ret->username = arena_str(&x->arena, m->username);
	ret->detail = arena_str(&x->arena, m->detail);
	switch (m->result) {
	case AUTH_GO_ON:
		sasl_challenge(x, ret, m->challenge);
		list_remove(&w->link);
		list_add(&pool.busy, &w->link);
		w->waits_for_client = true;
		/* At the limit this worker may be taken now. */
		(void)wait_list_wake_one(&pool.freed);
		return;
	case AUTH_OK:
		ret->status = SASL_OK;
		break;
	case AUTH_TEMPORARY:
		sasl_result_set(x, ret, SASL_TRY_LATER, "%.*s", STR_ARG(reason));
		break;
	default:
		sasl_result_set(x, ret, SASL_FAILED, "%.*s", STR_ARG(reason));
	}
	x->state = NULL;
	put_worker(w);
}

/* Asks the exchange's worker. 0, or why there was no answer; then there is no worker any more. */
static int converse(struct sasl_exchange *x, const struct message *m, struct sasl_result *ret)
{
	struct worker *w = x->state;
	struct message answer;
	int err;

	w->waits_for_client = false;
	err = ask(w, m, MESSAGE_AUTH_ANSWER, &answer);
	if (!err)
		take_answer(x, &answer.auth_answer, ret);
	else
		cyrus_end(x);
	return err;
}

static void fail(struct sasl_exchange *x, int err, struct sasl_result *ret)
{
	if (err == -EPIPE)
		ret->detail = arena_printf(&x->arena, "the process of Cyrus SASL ended: a call took longer than %d s, or crashed",
		                           (int)CYRUS_CALL_LIMIT_S);
	else
		ret->detail = arena_printf(&x->arena, "no process for Cyrus SASL: %s", strerror(-err));
	sasl_result_set(x, ret, SASL_TRY_LATER, "authentication is not available");
}

static struct str endpoint(struct sasl_exchange *x, struct str address, struct str port)
{
	if (str_is_empty(address) || str_is_empty(port))
		return STR("");
	return arena_printf(&x->arena, "%.*s;%.*s", STR_ARG(address), STR_ARG(port));
}

static void begin_message(struct sasl_exchange *x, struct str initial, struct message *m)
{
	const struct params *p = x->server->params;

	*m = (struct message){.type = MESSAGE_CYRUS_BEGIN,
	                      .cyrus_begin = {.service = p->smtpd_sasl_service,
	                                      .host = p->myhostname,
	                                      .realm = p->smtpd_sasl_local_domain,
	                                      .server = endpoint(x, x->peer.server_address, x->peer.server_port),
	                                      .client = endpoint(x, x->peer.client_address, x->peer.client_port),
	                                      .mechanism = x->method,
	                                      .has_initial = initial.ptr != NULL,
	                                      .initial = buf_str(&x->decoded)}};
}

static void cyrus_begin(struct sasl_exchange *x, struct str initial, struct sasl_result *ret)
{
	struct worker *w;
	struct message m;
	int err;

	if (initial.ptr && sasl_decode(x, initial)) {
		sasl_result_set(x, ret, SASL_MALFORMED, "Invalid base64 data in initial response");
		return;
	}
	begin_message(x, initial, &m);
	err = take_worker(x->server->state, &w);
	if (!err) {
		w->exchange = x;
		x->state = w;
		err = converse(x, &m, ret);
	}
	sasl_wipe(&x->decoded);
	if (err)
		fail(x, err, ret);
}

static void cyrus_step(struct sasl_exchange *x, struct str response, struct sasl_result *ret)
{
	struct message m = {.type = MESSAGE_CYRUS_STEP};
	int err;

	if (!x->state) {
		ret->detail = STR("too many dialogues at once, and this one was the slowest");
		sasl_result_set(x, ret, SASL_TRY_LATER, "authentication is not available");
		return;
	}
	if (sasl_decode(x, response)) {
		sasl_result_set(x, ret, SASL_MALFORMED, "Invalid base64 data in continued response");
		return;
	}
	m.cyrus_step.response = buf_str(&x->decoded);
	err = converse(x, &m, ret);
	sasl_wipe(&x->decoded);
	if (err)
		fail(x, err, ret);
}

static bool cyrus_has_changed(const struct sasl_server *s)
{
	return pool.is_lost;
}

const struct sasl_backend sasl_backend_cyrus = {
	.type = "cyrus",
	.open = cyrus_open,
	.close = cyrus_close,
	.mechanisms = cyrus_mechanisms,
	.begin = cyrus_begin,
	.step = cyrus_step,
	.end = cyrus_end,
	.has_changed = cyrus_has_changed,
};
