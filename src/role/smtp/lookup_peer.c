/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to the lookup role, and their answers. When it dies, its successor is asked again. */
#include "role/smtp/lookup_peer.h"

#include <errno.h>

#include "base/log.h"
#include "fiber/fiber.h"

/* Longer than lookup may take to fetch a policy or to run a command. */
enum { ANSWER_WAIT_S = 90 };

struct question {
	struct list link;
	struct wait_list changed;
	struct channel *asked; /* NULL: nobody who is still there */
	uint64_t token;
	struct message message; /* its strings are those of who asks */
	struct arena *arena;    /* of who asks */
	bool is_answered;
	int error;
	/* The answer, to either question. */
	struct str policy, failure;
	struct str access_token;
	bool is_new;
};

static struct {
	struct channel *newest; /* NULL when there is none */
	struct list questions;
	uint64_t last_token;
} peer;

static void open_once(void)
{
	if (!peer.questions.next)
		list_init(&peer.questions);
}

/* The question with this token, if this is an answer to it. */
static struct question *find_question(uint64_t token, enum message_type asked)
{
	LIST_EACH(&peer.questions, it) {
		struct question *q = LIST_ENTRY(it, struct question, link);

		if (q->token == token && q->message.type == asked)
			return q;
	}
	return NULL;
}

static void settle(struct question *q, uint32_t result)
{
	q->is_answered = true;
	q->error = result > INT16_MAX ? -EAGAIN : -(int)result;
	wait_list_wake_all(&q->changed);
}

static void take_sts_answer(const struct message_sts_answer *answer)
{
	struct question *q = find_question(answer->token, MESSAGE_STS_ASK);

	if (!q)
		return;
	q->policy = arena_str(q->arena, answer->policy);
	q->failure = arena_str(q->arena, answer->failure);
	settle(q, answer->result);
}

static void take_access_token(const struct message_access_token_answer *answer)
{
	struct question *q = find_question(answer->token, MESSAGE_ACCESS_TOKEN_ASK);

	if (!q)
		return;
	q->access_token = arena_str(q->arena, answer->access_token);
	q->is_new = answer->is_new;
	settle(q, answer->result);
}

static void send_question(struct question *q)
{
	q->asked = peer.newest && !channel_send(peer.newest, &q->message) ? peer.newest : NULL;
}

/* Whoever waited for this process asks the next one. */
static void ask_again(const struct channel *gone)
{
	LIST_EACH(&peer.questions, it) {
		struct question *q = LIST_ENTRY(it, struct question, link);

		if (!q->is_answered && q->asked == gone)
			send_question(q);
	}
}

static void serve(void *arg)
{
	struct channel *ch = arg;
	struct message m;
	int err;

	while (!(err = channel_recv(ch, INSTANT_NEVER, &m))) {
		if (m.type == MESSAGE_STS_ANSWER)
			take_sts_answer(&m.sts_answer);
		else if (m.type == MESSAGE_ACCESS_TOKEN_ANSWER)
			take_access_token(&m.access_token_answer);
		else
			log_warn("lookup sent %s, which is not for smtp", message_name(m.type));
	}
	if (err == -EBADMSG)
		log_warn("lookup sent what is no message");
	if (peer.newest == ch)
		peer.newest = NULL;
	ask_again(ch);
	channel_free(ch);
}

void lookup_peer_add(struct channel *ch)
{
	open_once();
	peer.newest = ch;
	ask_again(NULL);
	fiber_start("lookup", serve, ch);
}

/* 0 when there is an answer. */
static int ask(struct question *q)
{
	struct instant deadline = clock_deadline(duration_s(ANSWER_WAIT_S));
	int err = 0;

	open_once();
	wait_list_init(&q->changed);
	list_add(&peer.questions, &q->link);
	send_question(q);
	while (!q->is_answered && !err)
		err = wait_list_wait(&q->changed, deadline);
	list_remove(&q->link);
	if (q->is_answered)
		return 0;
	return err == -ECANCELED ? err : -EAGAIN;
}

int lookup_peer_ask_sts(struct str domain, struct arena *a, struct str *ret_policy, struct str *ret_failure)
{
	struct question q = {.token = ++peer.last_token, .arena = a};
	int err;

	q.message = (struct message){.type = MESSAGE_STS_ASK, .sts_ask = {.token = q.token, .domain = domain}};
	err = ask(&q);
	if (err)
		return err;
	*ret_policy = q.policy;
	*ret_failure = q.failure;
	return q.error;
}

int lookup_peer_ask_token(struct str transport, struct str user, struct arena *a, struct str *ret_token, bool *ret_is_new)
{
	struct question q = {.token = ++peer.last_token, .arena = a};
	int err;

	q.message = (struct message){.type = MESSAGE_ACCESS_TOKEN_ASK,
	                             .access_token_ask = {.token = q.token, .transport = transport, .user = user}};
	err = ask(&q);
	if (err)
		return err;
	*ret_token = q.access_token;
	*ret_is_new = q.is_new;
	return q.error;
}

void lookup_peer_refuse_token(struct str transport, struct str user, struct str token)
{
	struct message m = {.type = MESSAGE_ACCESS_TOKEN_REFUSED,
	                    .access_token_refused = {.transport = transport, .user = user, .access_token = token}};

	/* A new lookup process has none to forget. */
	if (peer.newest)
		(void)!channel_send(peer.newest, &m);
}

void lookup_peer_report(const struct tls_outcome *o, struct str failure)
{
	/* A policy that could not be had is a failure of its own, however well the session went (RFC 8460, 4.3.2.2). */
	bool is_policy = o->result == TLS_RESULT_SUCCESS && failure.len;
	struct message m = {.type = MESSAGE_TLS_OUTCOME};

	m.tls_outcome = (struct message_tls_outcome){
		.domain = o->domain,
		.policy_type = is_policy ? STR("sts") : str_of(tls_policy_type_name(o->type)),
		.policy_domain = o->policy_domain,
		.policy_strings = o->policy_strings,
		.mx_patterns = o->mx_patterns,
		.mx_host = o->mx_host,
		.mx_hello = o->mx_hello,
		.mx_address = o->mx_address,
		.sending_address = o->our_address,
		.result = is_policy ? failure : str_of(tls_result_name(o->result)),
		.reason = o->reason,
	};
	/* Without a lookup process one session is missing from a report. */
	if (peer.newest)
		(void)!channel_send(peer.newest, &m);
}
