/* SPDX-License-Identifier: Apache-2.0 */
/* The peers of the lookup role, and what they ask. */
#include "role/lookup/lookup.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "config/params.h"
#include "fiber/fiber.h"
#include "net/dns.h"
#include "role/lookup/dialogue.h"
#include "role/lookup/store.h"
#include "role/lookup/sts.h"
#include "role/lookup/tlsrpt.h"
#include "role/lookup/token_keeper.h"
#include "role/lookup/web.h"

enum {
	THREADS = 32,
	DRAIN_PATIENCE_S = 2 /* by then every peer knows our successor */
};

struct client {
	struct channel *channel;
	size_t users; /* its own fiber and its questions */
	bool is_gone;
};

static struct {
	struct process *process;
	size_t client_count;
	size_t user_count; /* of all clients */
	bool goes_out;     /* to web servers and the DNS */
	bool is_draining;
	bool is_forgotten; /* nobody asks us any more */
} lookup;

int lookup_prepare(struct process *p, struct buf *why)
{
	int err = dns_init(config_main_view(p->config), why);

	lookup.process = p;
	fiber_work_set_threads(THREADS);
	lookup.goes_out = sts_is_wanted(p->config) || tlsrpt_is_wanted(p->config);
	if (!err && lookup.goes_out)
		err = web_init(why);
	if (!err)
		err = token_keeper_prepare(p, why);
	return err ? err : dialogue_prepare(p, why);
}

/* Passwords are checked whatever becomes of the store. */
int lookup_start(struct process *p, struct buf *why)
{
	struct buf trouble = BUF_INIT(4096);

	if (lookup.goes_out) {
		if (store_open(config_main_view(p->config)->params->data_directory, &trouble))
			log_error("no store, so mail to domains that may have an MTA-STS policy waits: %s", buf_cstr(&trouble));
		else if (trouble.len)
			log_warn("%s", buf_cstr(&trouble));
		sts_start(p->config);
		if (store_is_open() && tlsrpt_is_wanted(p->config))
			tlsrpt_start(p->config);
	}
	buf_done(&trouble);
	return 0;
}

static void end_if_drained(void)
{
	/* Each client is its own user. */
	bool is_idle = lookup.is_forgotten && lookup.user_count == lookup.client_count;

	if (lookup.is_draining && (lookup.client_count == 0 || is_idle))
		process_end(lookup.process);
}

struct client *client_hold(struct client *c)
{
	c->users++;
	lookup.user_count++;
	return c;
}

void client_release(struct client *c)
{
	lookup.user_count--;
	if (--c->users == 0) {
		channel_free(c->channel);
		free(c);
		lookup.client_count--;
	}
	end_if_drained();
}

void client_send(struct client *c, const struct message *m)
{
	if (!c->is_gone && channel_send(c->channel, m))
		c->is_gone = true;
}

static void take_message(struct client *c, const struct message *m)
{
	if (dialogue_take(c, m))
		return;
	if (m->type == MESSAGE_STS_ASK) {
		sts_take_question(c, &m->sts_ask);
	} else if (m->type == MESSAGE_TLS_OUTCOME) {
		tlsrpt_take(&m->tls_outcome);
	} else if (m->type == MESSAGE_ACCESS_TOKEN_ASK) {
		token_keeper_ask(c, &m->access_token_ask);
	} else if (m->type == MESSAGE_ACCESS_TOKEN_REFUSED) {
		token_keeper_refused(&m->access_token_refused);
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
	dialogue_end_all(c);
	client_release(c);
}

void lookup_add_peer(struct process *p, enum ipc_role role, uint32_t id, struct channel *ch)
{
	struct client *c = mem_alloc(sizeof(*c));

	*c = (struct client){.channel = ch};
	lookup.client_count++;
	fiber_start("peer", serve_client, client_hold(c));
}

/* What was gathered is written down first. */
static void leave(void *arg)
{
	tlsrpt_flush();
	lookup.is_draining = true;
	end_if_drained();
	(void)!fiber_sleep(duration_s(DRAIN_PATIENCE_S));
	lookup.is_forgotten = true;
	end_if_drained();
}

void lookup_drain(struct process *p)
{
	fiber_start("leave", leave, NULL);
}
