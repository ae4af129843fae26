/* SPDX-License-Identifier: Apache-2.0 */
/* AUTH dialogues with back ends that live in the lookup role. */
#include "sasl/remote.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/list.h"
#include "fiber/fiber.h"
#include "ipc/channel.h"
#include "sasl/server_internal.h"

enum {
	/* Longer than lookup itself gives a back end. */
	ANSWER_TIMEOUT_S = 45,
	OFFER_TIMEOUT_S = 30,
	/* For a lookup process to come, or to come again after it died. */
	CHANNEL_TIMEOUT_S = 10,
	/* When lookup could not tell what it has, so long nobody asks again at EHLO. */
	RETRY_S = 5,
};

struct sasl_remote {
	struct channel *channel; /* for what begins now */
	uint64_t last_token;
	uint64_t epoch; /* counts the channels there were */
	struct list dialogues;
	struct list questions;
	struct wait_list came; /* a channel */
};

/* Of a sasl_server: what lookup said it can do. */
struct offer {
	struct mechanism_list list;
	bool is_known;
	uint64_t epoch; /* of the lookup process that said it */
	struct instant next_try;
	char why[200];
};

struct dialogue {
	struct list link;
	uint64_t token;
	struct channel *channel; /* NULL when it was lost */
	struct sasl_exchange *exchange;
	struct sasl_result *result; /* of the message under way */
	struct wait_list answered;
	bool is_over; /* lookup knows nothing of it any more */
};

/* What has lookup for this service? Lies on the stack of the fiber that asks. */
struct question {
	struct list link;
	uint64_t token;
	struct channel *channel;
	struct wait_list answered;
	struct offer *offer;
	bool is_answered;
};

struct sasl_remote *sasl_remote_new(void)
{
	struct sasl_remote *r = mem_alloc(sizeof(*r));

	r->epoch = 1;
	list_init(&r->dialogues);
	list_init(&r->questions);
	wait_list_init(&r->came);
	return r;
}

void sasl_remote_free(struct sasl_remote *r)
{
	free(r);
}

void sasl_remote_set_channel(struct sasl_remote *r, struct channel *ch)
{
	r->channel = ch;
	r->epoch++;
	wait_list_wake_all(&r->came);
}

/* NULL when none comes. Waits. */
static struct channel *await_channel(struct sasl_remote *r)
{
	struct instant deadline = clock_deadline(duration_s(CHANNEL_TIMEOUT_S));
	int err = 0;

	while (!r->channel && !err)
		err = wait_list_wait(&r->came, deadline);
	return r->channel;
}

bool sasl_remote_uses(const struct sasl_remote *r, const struct channel *ch)
{
	if (r->channel == ch)
		return true;
	LIST_EACH(&r->dialogues, it) {
		const struct dialogue *d = LIST_ENTRY(it, struct dialogue, link);

		if (d->channel == ch && !d->is_over)
			return true;
	}
	LIST_EACH(&r->questions, it)
		if (LIST_ENTRY(it, struct question, link)->channel == ch)
			return true;
	return false;
}

void sasl_remote_lost(struct sasl_remote *r, struct channel *ch)
{
	if (r->channel == ch)
		r->channel = NULL;
	LIST_EACH(&r->dialogues, it) {
		struct dialogue *d = LIST_ENTRY(it, struct dialogue, link);

		if (d->channel == ch) {
			d->channel = NULL;
			(void)wait_list_wake_one(&d->answered);
		}
	}
	LIST_EACH(&r->questions, it) {
		struct question *q = LIST_ENTRY(it, struct question, link);

		if (q->channel == ch) {
			q->channel = NULL;
			(void)wait_list_wake_one(&q->answered);
		}
	}
}

void sasl_server_set_remote(struct sasl_server *s, struct sasl_remote *r)
{
	s->remote = r;
}

/* --- what comes from lookup ------------------------------------------------------------------ */

static enum sasl_status status_of(uint8_t result)
{
	static const enum sasl_status table[AUTH_RESULT_COUNT] = {
		[AUTH_OK] = SASL_OK,
		[AUTH_GO_ON] = SASL_CONTINUE,
		[AUTH_REFUSED] = SASL_FAILED,
		[AUTH_TEMPORARY] = SASL_TRY_LATER,
		[AUTH_MALFORMED] = SASL_MALFORMED,
	};

	return table[result];
}

static void take_answer(struct dialogue *d, const struct message_auth_answer *m)
{
	struct sasl_result *ret = d->result;
	struct arena *a = &d->exchange->arena;

	/* What nobody asked for is not an answer. */
	if (!ret || d->is_over)
		return;
	ret->status = status_of(m->result);
	ret->challenge = arena_str(a, m->challenge);
	ret->username = arena_str(a, m->username);
	ret->reason = arena_str(a, m->reason);
	ret->detail = arena_str(a, m->detail);
	if (ret->status == SASL_OK && str_is_empty(ret->username))
		ret->status = SASL_TRY_LATER;
	d->is_over = ret->status != SASL_CONTINUE;
	d->result = NULL;
	(void)wait_list_wake_one(&d->answered);
}

static void take_offer(struct question *q, const struct message_auth_offer *m)
{
	struct offer *o = q->offer;

	o->list.count = 0;
	mechanism_list_parse(&o->list, m->mechanisms);
	o->is_known = o->list.count > 0;
	snprintf(o->why, sizeof(o->why), "%.*s", STR_ARG(m->reason));
	q->is_answered = true;
	(void)wait_list_wake_one(&q->answered);
}

bool sasl_remote_take(struct sasl_remote *r, const struct message *m)
{
	if (m->type == MESSAGE_AUTH_ANSWER) {
		LIST_EACH(&r->dialogues, it)
			if (LIST_ENTRY(it, struct dialogue, link)->token == m->auth_answer.token) {
				take_answer(LIST_ENTRY(it, struct dialogue, link), &m->auth_answer);
				break;
			}
		return true;
	}
	if (m->type == MESSAGE_AUTH_OFFER) {
		LIST_EACH(&r->questions, it)
			if (LIST_ENTRY(it, struct question, link)->token == m->auth_offer.token) {
				take_offer(LIST_ENTRY(it, struct question, link), &m->auth_offer);
				break;
			}
		return true;
	}
	return false;
}

/* --- what there is ------------------------------------------------------------------------------ */

static int remote_open(struct sasl_server *s, struct buf *why)
{
	s->state = mem_alloc(sizeof(struct offer));
	return 0;
}

static int builtin_open(struct sasl_server *s, struct buf *why)
{
	const struct params *p = s->params;

	if (str_is_empty(str_trim(p->smtpd_sasl_builtin_maps)) && str_is_empty(p->smtpd_sasl_oauth_key_file) &&
	    str_is_empty(p->smtpd_sasl_oauth_introspection_url)) {
		buf_add(why, STR("smtpd_sasl_type = builtin needs smtpd_sasl_builtin_maps: tables from login name to a hash or "
		                 "secret as `postrider password` makes it; or smtpd_sasl_oauth_key_file or "
		                 "smtpd_sasl_oauth_introspection_url for tokens"));
		return -EINVAL;
	}
	return remote_open(s, why);
}

static void remote_close(struct sasl_server *s)
{
	free(s->state);
	s->state = NULL;
}

static void ask_offer(struct sasl_server *s, struct offer *o)
{
	struct sasl_remote *r = s->remote;
	struct question q = {.token = ++r->last_token, .channel = await_channel(r), .offer = o};
	struct message m = {.type = MESSAGE_AUTH_OFFER_WANTED, .auth_offer_wanted = {.token = q.token, .service = s->service}};
	struct instant deadline = clock_deadline(duration_s(OFFER_TIMEOUT_S));
	uint64_t epoch = r->epoch;
	int err = 0;

	if (!q.channel || channel_send(q.channel, &m))
		return;
	wait_list_init(&q.answered);
	list_add(&r->questions, &q.link);
	while (!q.is_answered && q.channel && !err)
		err = wait_list_wait(&q.answered, deadline);
	list_remove(&q.link);
	if (q.is_answered)
		o->epoch = epoch;
}

static const struct mechanism_list *remote_mechanisms(struct sasl_server *s, const char **ret_why)
{
	/* Tools have nobody to ask: what every table and nearly every Cyrus SASL can do. */
	static const struct mechanism_list usual = {
		.items = {{"PLAIN", MECHANISM_PLAINTEXT}, {"LOGIN", MECHANISM_PLAINTEXT}},
		.count = 2,
	};
	struct sasl_remote *r = s->remote;
	struct offer *o = s->state;

	if (!r)
		return &usual;
	if (o->epoch != r->epoch && !instant_is_before(clock_now(), o->next_try)) {
		ask_offer(s, o);
		if (!o->is_known) {
			o->epoch = 0;
			o->next_try = clock_deadline(duration_s(RETRY_S));
		}
	}
	if (o->is_known)
		return &o->list;
	*ret_why = o->why[0] ? o->why : "the lookup process does not answer";
	return NULL;
}

/* --- dialogues --------------------------------------------------------------------------------------- */

static void wait_answer(struct sasl_exchange *x, const struct message *m, struct sasl_result *ret)
{
	struct dialogue *d = x->state;
	struct instant deadline = clock_deadline(duration_s(ANSWER_TIMEOUT_S));
	int err = d->channel ? channel_send(d->channel, m) : -EPIPE;

	d->result = ret;
	while (!err && d->result) {
		err = wait_list_wait(&d->answered, deadline);
		if (!err && !d->channel)
			err = -EPIPE;
	}
	if (!d->result)
		return;
	d->result = NULL;
	ret->detail = err == -ETIMEDOUT ? STR("the lookup process did not answer") : STR("the lookup process is not there");
	sasl_result_set(x, ret, SASL_TRY_LATER, "authentication is not available");
}

static void remote_begin(struct sasl_exchange *x, struct str initial, struct sasl_result *ret)
{
	struct sasl_remote *r = x->server->remote;
	const struct sasl_peer *p = &x->peer;
	struct dialogue *d;
	struct message m = {.type = MESSAGE_AUTH_BEGIN,
	                    .auth_begin = {.service = x->server->service,
	                                   .mechanism = x->method,
	                                   .initial = initial.ptr && !initial.len ? STR("=") : initial,
	                                   .has_tls = p->has_tls,
	                                   .client_address = p->client_address,
	                                   .client_port = p->client_port,
	                                   .server_address = p->server_address,
	                                   .server_port = p->server_port,
	                                   .binding = p->binding,
	                                   .is_exporter = p->is_exporter}};

	if (!r) {
		sasl_result_set(x, ret, SASL_TRY_LATER, "authentication is not available");
		return;
	}
	d = mem_alloc(sizeof(*d));
	d->token = m.auth_begin.token = ++r->last_token;
	d->channel = await_channel(r);
	d->exchange = x;
	wait_list_init(&d->answered);
	list_add(&r->dialogues, &d->link);
	x->state = d;
	wait_answer(x, &m, ret);
}

static void remote_step(struct sasl_exchange *x, struct str response, struct sasl_result *ret)
{
	struct dialogue *d = x->state;
	struct message m = {.type = MESSAGE_AUTH_STEP, .auth_step = {.token = d->token, .response = response}};

	wait_answer(x, &m, ret);
}

static void remote_end(struct sasl_exchange *x)
{
	struct dialogue *d = x->state;
	struct message m = {.type = MESSAGE_AUTH_END, .auth_end = {.token = d->token}};

	/* If it cannot be told, its channel is at its end and the dialogue with it. */
	if (d->channel && !d->is_over)
		(void)!channel_send(d->channel, &m);
	list_remove(&d->link);
	free(d);
	x->state = NULL;
}

const struct sasl_backend sasl_backend_builtin_remote = {
	.type = "builtin",
	.open = builtin_open,
	.close = remote_close,
	.mechanisms = remote_mechanisms,
	.begin = remote_begin,
	.step = remote_step,
	.end = remote_end,
};

const struct sasl_backend sasl_backend_cyrus_remote = {
	.type = "cyrus",
	.unknown_mechanism = "no mechanism available",
	.open = remote_open,
	.close = remote_close,
	.mechanisms = remote_mechanisms,
	.begin = remote_begin,
	.step = remote_step,
	.end = remote_end,
};

const struct sasl_backend *const sasl_smtpd_backends[] = {&sasl_backend_builtin_remote, &sasl_backend_cyrus_remote,
                                                          &sasl_backend_dovecot, NULL};
