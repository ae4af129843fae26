/* SPDX-License-Identifier: Apache-2.0 */
/* Submitting to smtpd: one of the peers in turn, answers by token. */
#include "role/local/forward.h"

#include "base/map.h"

enum { PEERS_MAX = 256, ANSWER_TIME_S = 600 };

/* A smtpd. */
struct peer {
	uint32_t id;
	struct channel *channel;
	struct map questions; /* by token, to struct question */
	bool is_draining;
};

/* A submission on its way; lies on the stack of who asks. */
struct question {
	struct wait_list answered;
	struct arena *arena;
	bool is_answered;
	uint32_t code;
	struct str text;
	struct str queue_id;
};

static struct {
	struct peer *peers[PEERS_MAX];
	size_t count;
	size_t next;
	uint64_t last_token;
} forward;

static struct str token_key(const uint64_t *token)
{
	return str_n((const char *)token, sizeof(*token));
}

static void answer(struct question *q, uint32_t code, struct str text, struct str queue_id)
{
	q->is_answered = true;
	q->code = code;
	q->text = arena_str(q->arena, text);
	q->queue_id = arena_str(q->arena, queue_id);
	wait_list_wake_all(&q->answered);
}

static void forget_peer(struct peer *p)
{
	size_t at = 0;
	struct str key;
	void *question;

	while (map_next(&p->questions, &at, &key, &question))
		answer(question, 451, STR("the mail acceptor ended unexpectedly"), STR(""));
	for (size_t i = 0; i < forward.count; i++)
		if (forward.peers[i] == p)
			forward.peers[i] = forward.peers[--forward.count];
	channel_free(p->channel);
	map_done(&p->questions);
	free(p);
}

static void hear(void *arg) WAITS;
static void hear(void *arg)
{
	struct peer *p = arg;
	struct message m;

	while (channel_recv(p->channel, INSTANT_NEVER, &m) == 0) {
		struct question *q;

		if (m.type != MESSAGE_SUBMITTED)
			continue;
		q = map_remove(&p->questions, token_key(&m.submitted.token));
		if (q)
			answer(q, m.submitted.code, m.submitted.text, m.submitted.queue_id);
	}
	forget_peer(p);
}

void forward_add_peer(uint32_t id, struct channel *ch)
{
	struct peer *p;

	if (forward.count == PEERS_MAX) {
		channel_free(ch);
		return;
	}
	p = mem_alloc(sizeof(*p));
	p->id = id;
	p->channel = ch;
	forward.peers[forward.count++] = p;
	fiber_start("smtpd", hear, p);
}

void forward_peer_draining(uint32_t id)
{
	for (size_t i = 0; i < forward.count; i++)
		if (forward.peers[i]->id == id)
			forward.peers[i]->is_draining = true;
}

/* The next one that takes new work; a moment of patience covers a change of generations. */
static struct peer *choose_peer(void) WAITS;
static struct peer *choose_peer(void)
{
	for (unsigned round = 0; round < 20; round++) {
		for (size_t i = 0; i < forward.count; i++) {
			struct peer *p = forward.peers[forward.next++ % forward.count];

			if (!p->is_draining)
				return p;
		}
		if (fiber_sleep(duration_ms(250)) != 0)
			break;
	}
	return NULL;
}

void forward_submit(const struct envelope *e, int fd, struct arena *a, uint32_t *ret_code, struct str *ret_text,
                    struct str *ret_queue_id)
{
	struct question q = {.arena = a, .code = 451, .text = STR("no mail acceptor can be reached")};
	struct message m = {.type = MESSAGE_SUBMIT, .fd = fd, .submit = {.token = ++forward.last_token}};
	struct buf envelope = BUF_INIT(MESSAGE_SIZE_MAX);
	struct peer *p = choose_peer();

	envelope_encode(&envelope, e);
	m.submit.envelope = buf_str(&envelope);
	wait_list_init(&q.answered);
	if (p && buf_check(&envelope) == 0 && channel_send(p->channel, &m) == 0) {
		map_set(&p->questions, token_key(&m.submit.token), &q);
		while (!q.is_answered) {
			if (wait_list_wait(&q.answered, clock_deadline(duration_s(ANSWER_TIME_S))) != 0 && !q.is_answered) {
				map_remove(&p->questions, token_key(&m.submit.token));
				q.text = STR("the mail acceptor does not answer");
				break;
			}
		}
	}
	buf_done(&envelope);
	*ret_code = q.code;
	*ret_text = q.text;
	*ret_queue_id = q.queue_id;
}
