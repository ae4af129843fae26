/* SPDX-License-Identifier: Apache-2.0 */
/* AUTH dialogues: from smtpd's messages to the back ends, and the answers back. */
#include "role/lookup/dialogue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "config/params.h"
#include "fiber/fiber.h"
#include "role/lookup/lookup.h"
#include "sasl/server.h"

enum {
	DIALOGUES_MAX = 2000,
	OFFERS_MAX = 1000,
	CHANGE_CHECK_S = 1,
};

struct dialogue {
	struct list link; /* in `all`; those that wait for their client in the order in which they began to */
	struct client *client;
	uint64_t token;
	struct sasl_server *server;
	struct message begin; /* its strings lie in `text` */
	struct buf text;      /* the message under way; wiped */
	struct str response;
	bool has_response;
	bool is_ended;
	bool waits_for_client;
	struct wait_list moved;
};

struct offer {
	struct client *client;
	uint64_t token;
	struct sasl_server *server;
};

static struct {
	struct process *process;
	struct map servers; /* "name/type" of a service to struct sasl_server */
	struct list all;
	size_t count, offer_count;
	bool has_told_change;
	struct instant next_change_check;
} dialogues;

/* --- the back ends ---------------------------------------------------------------------- */

static bool is_ours(const struct view *v)
{
	const struct params *p = v->params;

	return p->smtpd_sasl_auth_enable &&
	       (str_eq(p->smtpd_sasl_type, STR("builtin")) || str_eq(p->smtpd_sasl_type, STR("cyrus")));
}

int dialogue_prepare(struct process *p, struct buf *why)
{
	int err = 0;

	dialogues.process = p;
	list_init(&dialogues.all);
	for (size_t i = 0; !err && i < config_service_count(p->config); i++) {
		const struct service *service = config_service(p->config, i);
		const struct view *v = config_service_view(p->config, service);
		struct sasl_server *server;
		struct buf name = BUF_INIT(1024);

		if (!str_eq(service->program, STR("smtpd")) || !is_ours(v))
			continue;
		err = sasl_server_new(v, sasl_lookup_backends, &server, why);
		if (err)
			break;
		buf_addf(&name, "%.*s/%.*s", STR_ARG(service->name), STR_ARG(service->type));
		sasl_server_free(map_set(&dialogues.servers, buf_str(&name), server));
		buf_done(&name);
	}
	return err;
}

/* Tables that were written anew are read by a new generation of this role. */
static void look_for_changes(const struct sasl_server *server)
{
	struct instant now = clock_now();

	if (dialogues.has_told_change || instant_is_before(now, dialogues.next_change_check))
		return;
	dialogues.next_change_check = instant_after(now, duration_s(CHANGE_CHECK_S));
	if (sasl_server_has_changed(server)) {
		dialogues.has_told_change = true;
		process_table_changed(dialogues.process, STR("the login back ends"));
	}
}

/* --- a dialogue ---------------------------------------------------------------------------- */

static uint8_t result_of(enum sasl_status status)
{
	switch (status) {
	case SASL_OK:
		return AUTH_OK;
	case SASL_CONTINUE:
		return AUTH_GO_ON;
	case SASL_FAILED:
		return AUTH_REFUSED;
	case SASL_MALFORMED:
	case SASL_ABORTED:
		return AUTH_MALFORMED;
	case SASL_TRY_LATER:
		break;
	}
	return AUTH_TEMPORARY;
}

static void answer(struct client *c, uint64_t token, const struct sasl_result *r)
{
	struct message m = {.type = MESSAGE_AUTH_ANSWER,
	                    .auth_answer = {.token = token,
	                                    .result = result_of(r->status),
	                                    .challenge = r->challenge,
	                                    .username = r->username,
	                                    .reason = r->reason,
	                                    .detail = r->detail}};

	client_send(c, &m);
}

static void refuse(struct client *c, uint64_t token, const char *detail)
{
	struct sasl_result r = {
		.status = SASL_TRY_LATER, .reason = STR("authentication is not available"), .detail = str_of(detail)};

	answer(c, token, &r);
}

static void wipe(struct buf *b)
{
	if (b->ptr)
		explicit_bzero(b->ptr, b->size);
	buf_done(b);
}

/* Waits for the client's next line; false when there will be none. */
static bool await_response(struct dialogue *d)
{
	list_remove(&d->link);
	list_add(&dialogues.all, &d->link);
	d->waits_for_client = true;
	while (!d->is_ended && !d->has_response)
		if (wait_list_wait(&d->moved, INSTANT_NEVER))
			d->is_ended = true;
	d->waits_for_client = false;
	return !d->is_ended;
}

static void converse(struct dialogue *d)
{
	const struct message_auth_begin *b = &d->begin.auth_begin;
	struct sasl_peer peer = {.has_tls = b->has_tls,
	                         .binding = b->binding,
	                         .is_exporter = b->is_exporter,
	                         .client_address = b->client_address,
	                         .client_port = b->client_port,
	                         .server_address = b->server_address,
	                         .server_port = b->server_port};
	struct str initial = str_is_empty(b->initial) ? (struct str){0} : b->initial;
	struct sasl_result r = {0};
	struct sasl_exchange *x = sasl_exchange_begin(d->server, &peer, b->mechanism, initial, &r);

	for (;;) {
		wipe(&d->text);
		d->has_response = false;
		if (!d->is_ended)
			answer(d->client, d->token, &r);
		if (r.status != SASL_CONTINUE || !await_response(d))
			break;
		sasl_exchange_step(x, d->response, &r);
	}
	sasl_exchange_free(x);
}

static void run_dialogue(void *arg)
{
	struct dialogue *d = arg;

	converse(d);
	look_for_changes(d->server);
	wipe(&d->text);
	list_remove(&d->link);
	dialogues.count--;
	client_release(d->client);
	free(d);
}

static struct sasl_server *find_server(struct str service)
{
	struct sasl_server *server = map_find(&dialogues.servers, service);

	if (!server)
		log_warn("asked for service \"%.*s\", which lets nobody log in here", STR_ARG(service));
	return server;
}

static struct dialogue *find(const struct client *c, uint64_t token)
{
	LIST_EACH(&dialogues.all, it) {
		struct dialogue *d = LIST_ENTRY(it, struct dialogue, link);

		if (d->client == c && d->token == token && !d->is_ended)
			return d;
	}
	return NULL;
}

static void end(struct dialogue *d)
{
	d->is_ended = true;
	(void)wait_list_wake_one(&d->moved);
}

/* The one that has waited longest for its client. */
static bool make_room(void)
{
	LIST_EACH(&dialogues.all, it) {
		struct dialogue *d = LIST_ENTRY(it, struct dialogue, link);

		if (!d->waits_for_client || d->is_ended)
			continue;
		refuse(d->client, d->token, "too many dialogues at once, and this one was the slowest");
		end(d);
		return true;
	}
	return false;
}

/* The message's strings die with the channel's next one: what is encoded once more and decoded lies in `to`. */
static int copy_message(struct buf *to, const struct message *m, struct message *ret_copy)
{
	struct str rest;

	(void)!buf_room(to, 4096 + m->auth_begin.initial.len);
	message_encode(to, m);
	rest = buf_str(to);
	return message_decode(&rest, ret_copy);
}

static void begin(struct client *c, const struct message *m)
{
	struct sasl_server *server = find_server(m->auth_begin.service);
	struct dialogue *d;

	if (!server) {
		refuse(c, m->auth_begin.token, "no back end for this service");
		return;
	}
	if (dialogues.count >= DIALOGUES_MAX && !make_room()) {
		refuse(c, m->auth_begin.token, "too many dialogues at once");
		return;
	}
	d = mem_alloc(sizeof(*d));
	d->text = BUF_INIT(MESSAGE_SIZE_MAX);
	d->token = m->auth_begin.token;
	if (copy_message(&d->text, m, &d->begin)) {
		wipe(&d->text);
		free(d);
		return;
	}
	d->server = server;
	d->client = client_hold(c);
	wait_list_init(&d->moved);
	list_add(&dialogues.all, &d->link);
	dialogues.count++;
	fiber_start("dialogue", run_dialogue, d);
}

static void step(struct client *c, const struct message_auth_step *m)
{
	struct dialogue *d = find(c, m->token);

	/* It may just have been given up. A second line before the first was answered is smtpd's fault. */
	if (!d || !d->waits_for_client || d->has_response)
		return;
	d->text = BUF_INIT(m->response.len + 1);
	buf_add(&d->text, m->response);
	d->response = buf_str(&d->text);
	d->has_response = true;
	(void)wait_list_wake_one(&d->moved);
}

void dialogue_end_all(struct client *c)
{
	LIST_EACH(&dialogues.all, it) {
		struct dialogue *d = LIST_ENTRY(it, struct dialogue, link);

		if (d->client == c)
			end(d);
	}
}

/* --- what is offered ------------------------------------------------------------------------- */

static void run_offer(void *arg)
{
	struct offer *o = arg;
	struct buf list = BUF_INIT(8192);
	const char *why = "";
	struct message m = {.type = MESSAGE_AUTH_OFFER, .auth_offer = {.token = o->token}};

	sasl_server_list(o->server, &list, &why);
	m.auth_offer.mechanisms = buf_str(&list);
	if (!list.len)
		m.auth_offer.reason = str_of(why);
	client_send(o->client, &m);
	buf_done(&list);
	dialogues.offer_count--;
	client_release(o->client);
	free(o);
}

static void take_offer_wanted(struct client *c, const struct message_auth_offer_wanted *m)
{
	struct sasl_server *server = find_server(m->service);
	struct message refusal = {.type = MESSAGE_AUTH_OFFER,
	                          .auth_offer = {.token = m->token, .reason = STR("lookup has no back end for it")}};
	struct offer *o;

	if (!server || dialogues.offer_count >= OFFERS_MAX) {
		client_send(c, &refusal);
		return;
	}
	o = mem_alloc(sizeof(*o));
	o->client = client_hold(c);
	o->token = m->token;
	o->server = server;
	dialogues.offer_count++;
	fiber_start("offer", run_offer, o);
}

bool dialogue_take(struct client *c, const struct message *m)
{
	struct dialogue *d;

	switch (m->type) {
	case MESSAGE_AUTH_BEGIN:
		begin(c, m);
		return true;
	case MESSAGE_AUTH_STEP:
		step(c, &m->auth_step);
		return true;
	case MESSAGE_AUTH_END:
		d = find(c, m->auth_end.token);
		if (d)
			end(d);
		return true;
	case MESSAGE_AUTH_OFFER_WANTED:
		take_offer_wanted(c, &m->auth_offer_wanted);
		return true;
	default:
		return false;
	}
}
