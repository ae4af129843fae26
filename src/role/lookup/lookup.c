/* SPDX-License-Identifier: Apache-2.0 */
/* The peers of the lookup role, and what they ask. */
#include "role/lookup/lookup.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "fiber/fiber.h"
#include "role/lookup/dialogue.h"

enum { THREADS = 32 };

struct client {
	struct channel *channel;
	size_t users; /* its own fiber and its questions */
	bool is_gone;
};

static struct {
	struct process *process;
	size_t client_count;
	bool is_draining;
} lookup;

int lookup_prepare(struct process *p, struct buf *why)
{
	lookup.process = p;
	fiber_work_set_threads(THREADS);
	return dialogue_prepare(p, why);
}

static void end_if_drained(void)
{
	if (lookup.is_draining && lookup.client_count == 0)
		process_end(lookup.process);
}

struct client *client_hold(struct client *c)
{
	c->users++;
	return c;
}

void client_release(struct client *c)
{
	if (--c->users > 0)
		return;
	channel_free(c->channel);
	free(c);
	lookup.client_count--;
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
	if (m->type == MESSAGE_TABLE_ASK) {
		struct message reply = {.type = MESSAGE_TABLE_ANSWER,
		                        .table_answer = {.token = m->table_ask.token, .result = ENOTSUP}};

		client_send(c, &reply);
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

	*c = (struct client){.channel = ch, .users = 1};
	lookup.client_count++;
	fiber_start("peer", serve_client, c);
}

void lookup_drain(struct process *p)
{
	lookup.is_draining = true;
	end_if_drained();
}
