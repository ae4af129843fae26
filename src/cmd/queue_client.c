/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/queue_client.h"

#include <errno.h>
#include <unistd.h>

#include "base/log.h"

enum { ANSWER_TIME = 600 };

struct conversation {
	struct channel *ch;
	queue_talk_fn *talk;
	void *arg;
	int result;
};

static void converse(void *arg)
{
	struct conversation *c = arg;

	c->result = c->talk(c->ch, c->arg);
	channel_free(c->ch);
	loop_stop();
}

int queue_client_run(const struct config *c, const char *name, queue_talk_fn *talk, void *arg)
{
	struct conversation conversation = {.talk = talk, .arg = arg, .result = -EPIPE};
	struct buf path = BUF_INIT(4096);
	int err;

	loop_init();
	channel_loop_init();
	buf_addf(&path, "%.*s/public/%s", STR_ARG(view_get(config_main_view(c), STR("queue_directory"))), name);
	err = channel_connect(buf_cstr(&path), &conversation.ch);
	buf_done(&path);
	if (!err) {
		fiber_start("command", converse, &conversation);
		loop_run();
	}
	return err ? err : conversation.result;
}

int queue_client_ask(struct channel *ch, struct queue_request *r, struct buf *why)
{
	struct message m = {.type = MESSAGE_QUEUE_REQUEST, .queue_request = {.what = r->what, .argument = r->argument}};
	int err = channel_send(ch, &m);

	while (!err) {
		err = channel_recv(ch, clock_deadline(duration_s(ANSWER_TIME)), &m);
		if (err)
			break;
		if (m.fd >= 0)
			close(m.fd);
		if (m.type == MESSAGE_QUEUE_END) {
			buf_add(why, m.queue_end.text);
			r->count = m.queue_end.count;
			return m.queue_end.error ? -(int)(m.queue_end.error & 0xfff) : 0;
		}
		err = r->item ? r->item(&m, r->arg) : 0;
	}
	return err;
}
