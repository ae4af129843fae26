/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mail from inside: the sendmail command over the pickup socket, bounces from qmgr,
 * forwarded mail from local. Each SUBMIT is a fiber; the answer is SUBMITTED.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "config/params.h"
#include "content/content.h"
#include "fiber/fiber.h"
#include "ipc/visitors.h"
#include "mail/address.h"
#include "port.h"
#include "smtpd.h"
#include "table/user_list.h"

enum { UNDER_WAY_MAX = 50, USERS_MAX = 256, USERS_OF_ONE = 100, USERS_RESERVED = 32 };

static struct visitors users; /* of the pickup socket */

/* Who sends: one channel. Freed when it is closed and its last message is answered. */
struct source {
	struct channel *channel; /* NULL once closed */
	enum submit_from from;
	uid_t uid;
	struct visitor visitor; /* of a user */
	size_t under_way;
	struct wait_list room;
};

struct submission {
	struct source *source;
	int fd;
	uint64_t token;
	struct arena arena;
	struct envelope envelope;
};

static void drop_source(struct source *src)
{
	if (!src->channel && src->under_way == 0)
		free(src);
}

static void answer(struct submission *sub, const struct reply *r)
{
	struct message m = {.type = MESSAGE_SUBMITTED,
	                    .submitted = {.token = sub->token,
	                                  .code = (uint32_t)r->code,
	                                  .text = r->text,
	                                  .queue_id = str_of(sub->envelope.queue_id)}};

	if (sub->source->channel && channel_send(sub->source->channel, &m))
		log_warn("an answer to submitted mail was lost");
}

/* What a user may not say of his mail is taken away. */
static void distrust(struct submission *sub)
{
	struct envelope *e = &sub->envelope;

	if (sub->source->from == SUBMIT_FROM_USER)
		e->flags &= ENVELOPE_SMTPUTF8 | ENVELOPE_8BITMIME | ENVELOPE_VERIFY_ONLY | ENVELOPE_TRACE | ENVELOPE_REQUIRETLS;
	if (sub->source->from != SUBMIT_FROM_LOCAL)
		e->client_name = e->client_address = e->client_port = e->helo = e->protocol = STR("");
	if (sub->source->from == SUBMIT_FROM_USER)
		e->sasl_method = e->sasl_username = e->sasl_sender = STR("");
	e->filter = smtpd.pickup->view->params->content_filter;
	/* Reports go past the filter; what postsuper -r takes in again does not. */
	if (sub->source->from == SUBMIT_FROM_QMGR && e->flags & ENVELOPE_INTERNAL)
		e->filter = STR("");
	e->service = STR("pickup");
	e->arrival = clock_wall();
	queue_id_make(&smtpd.ids, e->arrival, e->queue_id);
}

static void log_notes(const struct content_note *notes)
{
	for (; notes; notes = notes->next)
		log_tagged(smtpd.pickup->cleanup_tag, notes->level, "%.*s", STR_ARG(notes->text));
}

static struct reply keep(struct submission *sub)
{
	struct port *port = smtpd.pickup;
	struct received received = {.is_local = true,
	                            .has_uid = sub->source->from == SUBMIT_FROM_USER,
	                            .uid = sub->source->uid,
	                            .host = port->view->params->myhostname,
	                            .mail_name = port->view->params->mail_name};
	struct draft_facts facts = {
		.arena = &sub->arena,
		.envelope = &sub->envelope,
		.received = &received,
		.client = STR("local"),
		.overrides = port->overrides,
		.is_rewritten = sub->source->from != SUBMIT_FROM_LOCAL,
		.is_submitted = true,
	};
	struct draft *d = draft_new(port->content, smtpd.appender, &facts);
	struct content_note *notes;
	struct reply r;

	draft_file(d, sub->fd);
	r = draft_finish(d, &notes);
	log_notes(notes);
	if (!r.code && !draft_is_discarded(d)) {
		r = draft_commit(d, &notes);
		log_notes(notes);
	}
	draft_free(d);
	return r.code ? r : (struct reply){.code = 250, .dsn = DSN(2, 0, 0), .text = STR("Ok")};
}

static void serve_submission(void *arg)
{
	struct submission *sub = arg;
	struct source *src = sub->source;
	struct reply r;

	distrust(sub);
	if (src->from == SUBMIT_FROM_USER)
		log_tagged(smtpd.pickup->pickup_tag, LOG_LEVEL_INFO, "%s: uid=%u from=<%.*s>", sub->envelope.queue_id,
		           (unsigned)src->uid, STR_ARG(address_external(&sub->arena, sub->envelope.sender)));
	r = keep(sub);
	answer(sub, &r);
	close(sub->fd);
	arena_done(&sub->arena);
	free(sub);
	src->under_way--;
	visitor_set_quiet(&src->visitor, src->under_way == 0);
	(void)wait_list_wake_one(&src->room);
	drop_source(src);
	smtpd_end_work();
}

/* authorized_submit_users: true when the user may; else he has his answer. */
static bool is_authorized(struct submission *sub)
{
	const struct view *v = smtpd.pickup->view;
	struct buf why = BUF_INIT(1000);
	int result = sub->source->from == SUBMIT_FROM_USER
	                     ? user_list_check(v->params->authorized_submit_users, sub->source->uid, v, &why)
	                     : 1;
	struct reply no = {.code = 554, .dsn = DSN(5, 7, 1)}, later = {.code = 451, .dsn = DSN(4, 3, 0)};

	if (result == 0) {
		no.text = arena_printf(&sub->arena, "User id %u is not allowed to submit mail", (unsigned)sub->source->uid);
		answer(sub, &no);
	} else if (result < 0) {
		log_warn("authorized_submit_users: %s", buf_cstr(&why));
		later.text = STR("Error: authorized_submit_users lookup failure");
		answer(sub, &later);
	}
	buf_done(&why);
	return result > 0;
}

/*
 * A user's file must lie in memory, as sendmail makes it: with any other kind, a file system that is a program of his could make
 * whoever reads it wait for ever, and with it the helper threads that everybody needs.
 */
static bool is_good_file(const struct source *src, int fd)
{
	struct stat st;

	return (src->from != SUBMIT_FROM_USER || fcntl(fd, F_GET_SEALS) >= 0) && !fstat(fd, &st) && S_ISREG(st.st_mode);
}

static bool is_one_line(struct str s)
{
	return str_find_any(s, "\r\n") == s.len && !str_has(s, '\0');
}

/* Addresses and their like go into SMTP commands, headers and mailbox files, where a line end would begin something new. */
static bool is_good_envelope(const struct envelope *e)
{
	bool is_good = is_one_line(e->sender) && is_one_line(e->envid) && is_one_line(e->message_id);

	for (uint32_t i = 0; i < e->recipient_count && is_good; i++)
		is_good = is_one_line(e->recipients[i].address) && is_one_line(e->recipients[i].original) &&
		          is_one_line(e->recipients[i].orcpt);
	return is_good;
}

/* A message of a source's own making is hostile until it is decoded. */
static void take_submission(struct source *src, const struct message *m)
{
	struct submission *sub = mem_alloc(sizeof(*sub));
	struct reply bad = {.code = 554, .dsn = DSN(5, 3, 0), .text = STR("Error: malformed submission")};
	struct envelope e;
	bool is_bad;

	sub->source = src;
	sub->fd = m->fd;
	sub->token = m->submit.token;
	if (!is_good_file(src, m->fd) || envelope_decode(m->submit.envelope, &sub->arena, &e) ||
	    (src->from == SUBMIT_FROM_USER && !is_good_envelope(&e))) {
		answer(sub, &bad);
		is_bad = true;
	} else {
		is_bad = !is_authorized(sub);
	}
	if (is_bad) {
		close(sub->fd);
		arena_done(&sub->arena);
		free(sub);
		return;
	}
	envelope_copy(&sub->envelope, &e, &sub->arena);
	src->under_way++;
	visitor_set_quiet(&src->visitor, false);
	smtpd_begin_work();
	fiber_start("submission", serve_submission, sub);
}

static void read_source(struct source *src)
{
	struct message m;
	int err;

	while (!(err = channel_recv(src->channel, INSTANT_NEVER, &m))) {
		if (m.type == MESSAGE_SUBMIT)
			take_submission(src, &m);
		else if (src->from != SUBMIT_FROM_QMGR || !peers_handle(&m))
			log_warn("a peer sent %s at a wrong moment", message_name(m.type));
		/* qmgr's segments must come through whatever else waits. */
		while (src->under_way >= UNDER_WAY_MAX && src->from == SUBMIT_FROM_USER && !err)
			err = wait_list_wait(&src->room, INSTANT_NEVER);
	}
	if (err == -EBADMSG)
		log_warn("a peer sent what is no message");
}

static void serve_source(void *arg)
{
	struct source *src = arg;
	bool is_user = src->from == SUBMIT_FROM_USER;

	if (!is_user || visitors_enter(&users, &src->visitor, src->uid))
		read_source(src);
	if (is_user)
		visitors_leave(&src->visitor);
	peers_lost(src->channel);
	channel_free(src->channel);
	src->channel = NULL;
	drop_source(src);
}

static struct source *source_new(struct channel *ch, enum submit_from from)
{
	struct source *src = mem_alloc(sizeof(*src));

	src->channel = ch;
	src->from = from;
	wait_list_init(&src->room);
	return src;
}

void submit_add(struct channel *ch, enum submit_from from)
{
	fiber_start("source", serve_source, source_new(ch, from));
}

static void accept_users(void *arg)
{
	struct watch *w = arg;
	struct channel *ch;
	int err;

	while ((err = channel_accept(w, &ch)) != -ECANCELED) {
		struct source *src;

		if (err) {
			log_warn("accept on the pickup socket: %s", strerror(-err));
			if (fiber_sleep(duration_ms(200)) == -ECANCELED)
				break;
			continue;
		}
		src = source_new(ch, SUBMIT_FROM_USER);
		if (channel_peer_uid(ch, &src->uid)) {
			channel_free(ch);
			free(src);
			continue;
		}
		fiber_start("source", serve_source, src);
		/* Those for whom there is no room go before the next ones come. */
		if (fiber_yield())
			break;
	}
}

static struct watch pickup_watch;
static struct fiber *pickup_fiber;

void submit_listen(int fd)
{
	visitors_init(&users, USERS_MAX, USERS_OF_ONE, USERS_RESERVED);
	watch_init(&pickup_watch, fd);
	pickup_fiber = fiber_start("pickup", accept_users, &pickup_watch);
}

void submit_stop(void)
{
	if (pickup_fiber)
		fiber_cancel(pickup_fiber);
	pickup_fiber = NULL;
}
