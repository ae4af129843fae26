/* SPDX-License-Identifier: Apache-2.0 */
/* Password questions: from a peer's message to a check on a fiber of its own, and the answer back. */
#include "role/lookup/lookup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/map.h"
#include "config/params.h"
#include "fiber/fiber.h"
#include "sasl/password.h"

enum {
	QUESTIONS_MAX = 2000, /* at once; more are told to come back */
	CHANGE_CHECK_S = 1,
	USERNAME_MAX = 4096,
};

/* A peer with its questions under way; freed by whoever is the last to use it. */
struct client {
	struct channel *channel;
	size_t users; /* its own fiber and its questions */
	bool is_gone;
};

struct question {
	struct client *client;
	uint64_t token;
	struct password_store *store;
	struct str username;
	char *secret; /* wiped */
	size_t secret_size;
};

static struct {
	struct process *process;
	struct map stores; /* "name/type" of a service to struct password_store */
	size_t client_count, question_count;
	bool is_draining;
	bool has_told_change;
	struct instant next_change_check;
} lookup;

/* --- the tables ------------------------------------------------------------------------- */

static bool needs_store(const struct view *v)
{
	return v->params->smtpd_sasl_auth_enable && str_eq(v->params->smtpd_sasl_type, STR("builtin")) &&
	       !str_is_empty(str_trim(v->params->smtpd_sasl_builtin_maps));
}

int lookup_prepare(struct process *p, struct buf *why)
{
	lookup.process = p;
	for (size_t i = 0; i < config_service_count(p->config); i++) {
		const struct service *service = config_service(p->config, i);
		const struct view *v = config_service_view(p->config, service);
		struct password_store *store;
		struct buf name = BUF_INIT(1024);
		int err;

		if (!str_eq(service->program, STR("smtpd")) || !needs_store(v))
			continue;
		err = password_store_new(v, &store, why);
		if (err)
			return err;
		buf_addf(&name, "%.*s/%.*s", STR_ARG(service->name), STR_ARG(service->type));
		password_store_free(map_set(&lookup.stores, buf_str(&name), store));
		buf_done(&name);
	}
	return 0;
}

/* Tables that were written anew are read by a new generation of this role. */
static void look_for_changes(const struct password_store *store)
{
	struct instant now = clock_now();

	if (lookup.has_told_change || instant_is_before(now, lookup.next_change_check))
		return;
	lookup.next_change_check = instant_after(now, duration_s(CHANGE_CHECK_S));
	if (password_store_has_changed(store)) {
		lookup.has_told_change = true;
		process_table_changed(lookup.process, STR("smtpd_sasl_builtin_maps"));
	}
}

/* --- peers and questions -------------------------------------------------------------------- */

static void end_if_drained(void)
{
	if (lookup.is_draining && lookup.client_count == 0)
		process_end(lookup.process);
}

static void client_release(struct client *c)
{
	if (--c->users > 0)
		return;
	channel_free(c->channel);
	free(c);
	lookup.client_count--;
	end_if_drained();
}

static void answer(struct client *c, uint64_t token, enum sasl_status status, struct str reason)
{
	struct message m = {.type = MESSAGE_AUTH_ANSWER, .auth_answer = {.token = token, .reason = reason}};

	m.auth_answer.result = status == SASL_OK ? AUTH_OK : status == SASL_FAILED ? AUTH_REFUSED : AUTH_TEMPORARY;
	if (!c->is_gone && channel_send(c->channel, &m))
		c->is_gone = true;
}

static void question_free(struct question *q)
{
	explicit_bzero(q->secret, q->secret_size);
	free(q->secret);
	client_release(q->client);
	lookup.question_count--;
	free(q);
}

static void run_question(void *arg)
{
	struct question *q = arg;
	struct buf reason = BUF_INIT(1024);
	struct str password = str_n(q->secret + q->username.len, q->secret_size - q->username.len - 1);
	enum sasl_status status = password_check(q->store, q->username, password, &reason);

	if (status == SASL_TRY_LATER)
		log_warn("password of %.*s cannot be checked: %s", (int)size_min(q->username.len, 100), q->username.ptr,
		         buf_cstr(&reason));
	look_for_changes(q->store);
	answer(q->client, q->token, status, buf_str(&reason));
	buf_done(&reason);
	question_free(q);
}

static void take_question(struct client *c, const struct message_auth_check *m)
{
	struct password_store *store = map_find(&lookup.stores, m->service);
	struct question *q;

	if (!store) {
		log_warn("asked for passwords of service \"%.*s\", which has none here", STR_ARG(m->service));
		answer(c, m->token, SASL_TRY_LATER, STR("no password tables for this service"));
		return;
	}
	if (lookup.question_count >= QUESTIONS_MAX || m->username.len > USERNAME_MAX) {
		answer(c, m->token, SASL_TRY_LATER, STR("too many password checks at once"));
		return;
	}
	q = mem_alloc(sizeof(*q));
	q->secret_size = m->username.len + m->password.len + 1;
	q->secret = mem_alloc(q->secret_size);
	memcpy(q->secret, m->username.ptr ? m->username.ptr : "", m->username.len);
	memcpy(q->secret + m->username.len, m->password.ptr ? m->password.ptr : "", m->password.len);
	q->username = str_n(q->secret, m->username.len);
	q->client = c;
	q->token = m->token;
	q->store = store;
	c->users++;
	lookup.question_count++;
	fiber_start("password", run_question, q);
}

static void take_message(struct client *c, const struct message *m)
{
	if (m->type == MESSAGE_AUTH_CHECK) {
		take_question(c, &m->auth_check);
	} else if (m->type == MESSAGE_TABLE_ASK) {
		struct message reply = {.type = MESSAGE_TABLE_ANSWER,
		                        .table_answer = {.token = m->table_ask.token, .result = ENOTSUP}};

		if (channel_send(c->channel, &reply))
			c->is_gone = true;
	} else {
		log_warn("a peer sent %s, which is not for lookup", message_name(m->type));
		if (m->fd >= 0)
			close(m->fd);
	}
}

static void serve_client(void *arg)
{
	struct client *c = arg;
	struct message m;
	int err;

	while ((err = channel_recv(c->channel, INSTANT_NEVER, &m)) == 0)
		take_message(c, &m);
	if (err == -EBADMSG)
		log_warn("a peer sent what is no message; its channel is closed");
	c->is_gone = true;
	client_release(c);
}

void lookup_add_peer(struct process *p, enum ipc_role role, uint32_t id, struct channel *ch)
{
	struct client *c = mem_alloc(sizeof(*c));

	*c = (struct client){.channel = ch, .users = 1};
	lookup.client_count++;
	fiber_start("peer", serve_client, c);
}

void lookup_drain(struct process *p)
{
	lookup.is_draining = true;
	end_if_drained();
}
