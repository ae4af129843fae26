/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/queue_client.h"

#include <errno.h>
#include <unistd.h>

#include "base/log.h"

enum { ANSWER_TIME = 600, TRIES = 60, TRY_AGAIN_MS = 500 };

struct conversation {
	const char *path;
	struct channel *ch;
	queue_talk_fn *talk;
	void *arg;
	int result;
};

static void converse(void *arg)
{
	struct conversation *c = arg;
	int err = 0;

	for (int i = 0; !err && i < TRIES; i++) {
		c->result = c->talk(c->ch, c->arg);
		channel_free(c->ch);
		if (c->result != -EAGAIN)
			break;
		err = fiber_sleep(duration_ms(TRY_AGAIN_MS));
		if (!err)
			err = channel_connect(c->path, &c->ch);
	}
	if (err)
		c->result = err;
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
	conversation.path = buf_cstr(&path);
	err = channel_connect(conversation.path, &conversation.ch);
	if (!err) {
		fiber_start("command", converse, &conversation);
		loop_run();
	}
	buf_done(&path);
	return err ? err : conversation.result;
}

int queue_client_ask(struct channel *ch, struct queue_request *r, struct buf *why)
{
	struct message m = {.type = MESSAGE_QUEUE_REQUEST, .queue_request = {.what = r->what, .argument = r->argument}};
	int err = channel_send(ch, &m);
	bool has_answer = false;

	while (!err) {
		err = channel_recv(ch, clock_deadline(duration_s(ANSWER_TIME)), &m);
		if ((err == -EPIPE || err == -ECONNRESET) && !has_answer)
			err = -EAGAIN;
		if (err)
			break;
		has_answer = true;
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
