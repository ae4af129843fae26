/* SPDX-License-Identifier: Apache-2.0 */
/*
 * smtpd_sasl_type = dovecot: asks Dovecot's auth service at smtpd_sasl_path, a socket below
 * $queue_directory or "inet:host:port".
 *
 * A connection serves one exchange at a time and is kept for the next one; an exchange that is
 * given up half-way takes its connection with it. So Dovecot hanging or dying is a
 * temporary failure for those who wait, and for nobody else.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/random.h"
#include "fiber/fiber.h"
#include "net/connect.h"
#include "net/dns.h"
#include "net/ip.h"
#include "net/stream.h"
#include "sasl/dovecot_line.h"
#include "sasl/server_internal.h"

enum {
	LINE_MAX_SIZE = 64 << 10,
	HANDSHAKE_LINES_MAX = 500,
	CONNECTIONS_MAX = 1000,
	IDLE_MAX = 20,
	HANDSHAKE_TIMEOUT_S = 10,
	/* Dovecot holds the answer to repeated failures back for up to 17 seconds. */
	REPLY_TIMEOUT_S = 60,
	/* While Dovecot is away, so long nobody waits at EHLO to hear what it can do. */
	RETRY_S = 5,
	/* For another session that is just hearing it. */
	HEARSAY_S = 2,
};

struct dovecot {
	struct str path; /* as configured, for people */
	bool is_inet;
	struct str host, port, file;
	bool has_mechanisms;
	struct mechanism_list mechanisms;
	struct instant next_try; /* to learn the mechanisms */
	bool is_trying;
	struct wait_list tried;
	struct list idle; /* of struct dovecot_connection, the latest first */
	size_t idle_count, connection_count;
};

struct dovecot_connection {
	struct list link;
	struct stream *stream;
	uint32_t last_id;
	bool was_idle;
};

/* --- the place --------------------------------------------------------------------------------- */

static int dovecot_open(struct sasl_server *s, struct buf *why)
{
	struct dovecot *d = mem_alloc(sizeof(*d));
	struct str path = s->params->smtpd_sasl_path;

	s->state = d;
	d->path = path;
	list_init(&d->idle);
	wait_list_init(&d->tried);
	if (str_starts(path, STR("inet:"))) {
		struct str place = str_from(path, 5);
		size_t colon = str_find_last(place, ':');

		d->is_inet = true;
		d->host = colon < place.len ? str_cut(place, 0, colon) : STR("localhost");
		d->port = colon < place.len ? str_from(place, colon + 1) : place;
		if (d->host.len >= 2 && d->host.ptr[0] == '[')
			d->host = str_cut(d->host, 1, d->host.len - 2);
		return 0;
	}
	if (str_starts(path, STR("unix:")))
		path = str_from(path, 5);
	d->file = path.len && path.ptr[0] == '/'
	                  ? path
	                  : arena_printf(&s->arena, "%.*s/%.*s", STR_ARG(s->params->queue_directory), STR_ARG(path));
	return 0;
}

static void connection_free(struct dovecot *d, struct dovecot_connection *c)
{
	stream_free(c->stream);
	d->connection_count--;
	free(c);
}

static void dovecot_close(struct sasl_server *s)
{
	struct dovecot *d = s->state;

	if (!d)
		return;
	LIST_EACH(&d->idle, link) {
		list_remove(link);
		connection_free(d, LIST_ENTRY(link, struct dovecot_connection, link));
	}
	free(d);
	s->state = NULL;
}

static int connect_place(struct dovecot *d, int *ret_fd)
{
	struct arena a = ARENA_INIT;
	struct dns_answer answer;
	struct sockaddr_storage to;
	uint16_t port;
	int err;

	if (!d->is_inet)
		return connect_local(d->file, duration_s(HANDSHAKE_TIMEOUT_S), ret_fd);
	err = ip_parse_port(d->port, &port);
	if (!err && ip_parse(d->host, port, &to)) {
		err = dns_addresses(d->host, true, true, true, &a, &answer);
		if (!err)
			err = answer.status == DNS_FOUND && answer.count ? ip_from_bytes(answer.records[0].data, port, &to)
			                                                 : -EHOSTUNREACH;
	}
	if (!err)
		err = connect_tcp((struct sockaddr *)&to, NULL, duration_s(HANDSHAKE_TIMEOUT_S), ret_fd);
	arena_done(&a);
	return err;
}

/* --- connections --------------------------------------------------------------------------------- */

static int read_line(struct dovecot_connection *c, struct arena *a, struct dovecot_line *ret_line)
{
	struct str text;
	bool is_bare;
	int err = stream_read_line(c->stream, LINE_MAX_SIZE, &text, &is_bare);

	return err ? err : dovecot_line_parse(text, a, ret_line);
}

/* Reads the server's part of the handshake, to DONE. */
static int read_handshake(struct dovecot *d, struct dovecot_connection *c)
{
	struct mechanism_list *found = mem_alloc(sizeof(*found));
	struct arena a = ARENA_INIT;
	bool has_version = false;
	int err = 0;

	for (size_t i = 0; !err; i++) {
		struct dovecot_line line;

		err = i < HANDSHAKE_LINES_MAX ? read_line(c, &a, &line) : -EPROTO;
		if (err)
			break;
		if (line.verb == DOVECOT_VERSION) {
			has_version = true;
			err = line.number == 1 ? 0 : -EPROTO;
		} else if (line.verb == DOVECOT_MECH) {
			mechanism_add(found, line.text, line.flags);
		} else if (line.verb == DOVECOT_DONE) {
			err = has_version ? 0 : -EPROTO;
			break;
		}
	}
	if (!err) {
		d->mechanisms = *found;
		d->has_mechanisms = true;
	}
	arena_done(&a);
	free(found);
	return err;
}

static int connection_new(struct dovecot *d, struct dovecot_connection **ret_connection)
{
	struct dovecot_connection *c;
	int fd = -1;
	int err = d->connection_count < CONNECTIONS_MAX ? connect_place(d, &fd) : -EMFILE;

	if (err)
		return err;
	c = mem_alloc(sizeof(*c));
	list_init(&c->link);
	c->stream = stream_new(fd);
	d->connection_count++;
	stream_set_deadline(c->stream, clock_deadline(duration_s(HANDSHAKE_TIMEOUT_S)));
	/* Dovecot refuses a number that another connection has; as we have many, it is not our process id. */
	err = stream_printf(c->stream, "VERSION\t1\t1\nCPID\t%u\n", random_below(INT32_MAX - 1) + 1);
	if (!err)
		err = stream_flush(c->stream);
	if (!err)
		err = read_handshake(d, c);
	if (err) {
		connection_free(d, c);
		return err;
	}
	stream_set_deadline(c->stream, INSTANT_NEVER);
	stream_set_timeout(c->stream, duration_s(REPLY_TIMEOUT_S));
	*ret_connection = c;
	return 0;
}

static void put_idle(struct dovecot *d, struct dovecot_connection *c)
{
	if (d->idle_count >= IDLE_MAX) {
		connection_free(d, c);
		return;
	}
	list_add_first(&d->idle, &c->link);
	d->idle_count++;
}

static int take_connection(struct dovecot *d, struct dovecot_connection **ret_connection)
{
	struct list *first;

	while ((first = list_first(&d->idle))) {
		struct dovecot_connection *c = LIST_ENTRY(first, struct dovecot_connection, link);

		list_remove(first);
		d->idle_count--;
		c->was_idle = true;
		*ret_connection = c;
		if (stream_is_quiet(c->stream))
			return 0;
		connection_free(d, c);
	}
	return connection_new(d, ret_connection);
}

static const struct mechanism_list *dovecot_mechanisms(struct sasl_server *s, const char **ret_why)
{
	struct dovecot *d = s->state;
	struct dovecot_connection *c;
	bool may_try = !instant_is_before(clock_now(), d->next_try);

	/* One session finds out; the others do not wait long with it. */
	if (!d->has_mechanisms && d->is_trying) {
		(void)!wait_list_wait(&d->tried, clock_deadline(duration_s(HEARSAY_S)));
	} else if (!d->has_mechanisms && may_try) {
		d->next_try = clock_deadline(duration_s(HANDSHAKE_TIMEOUT_S + RETRY_S));
		d->is_trying = true;
		if (!connection_new(d, &c))
			put_idle(d, c);
		else
			d->next_try = clock_deadline(duration_s(RETRY_S));
		d->is_trying = false;
		wait_list_wake_all(&d->tried);
	}
	if (d->has_mechanisms)
		return &d->mechanisms;
	*ret_why = "the Dovecot auth service at smtpd_sasl_path does not answer";
	return NULL;
}

/* --- exchanges --------------------------------------------------------------------------------------- */

static void fail_temporarily(struct sasl_exchange *x, int err, struct sasl_result *ret)
{
	struct dovecot *d = x->server->state;

	ret->detail = arena_printf(&x->arena, "Dovecot auth socket '%.*s': %s", STR_ARG(d->path), strerror(-err));
	sasl_result_set(x, ret, SASL_TRY_LATER, "%s",
	                err == -ETIMEDOUT ? "authentication server does not answer" : "Connection lost to authentication server");
}

static void dovecot_end(struct sasl_exchange *x)
{
	if (x->state)
		connection_free(x->server->state, x->state);
	x->state = NULL;
}

/* Turns a line that answers us into a result; the connection is free again after the last one. */
static void take_line(struct sasl_exchange *x, const struct dovecot_line *line, struct sasl_result *ret)
{
	struct dovecot_connection *c = x->state;

	ret->username = line->user;
	if (line->verb == DOVECOT_CONT) {
		ret->status = SASL_CONTINUE;
		ret->challenge = line->text;
		return;
	}
	if (line->verb == DOVECOT_OK && str_is_empty(line->user))
		sasl_result_set(x, ret, SASL_TRY_LATER, "the authentication server gave no user name");
	else if (line->verb == DOVECOT_OK)
		ret->status = SASL_OK;
	else
		sasl_result_set(x, ret, line->is_temporary ? SASL_TRY_LATER : SASL_FAILED, "%.*s",
		                STR_ARG(str_is_empty(line->reason) ? STR("(reason unavailable)") : line->reason));
	x->state = NULL;
	put_idle(x->server->state, c);
}

static int read_answer(struct sasl_exchange *x, struct sasl_result *ret)
{
	struct dovecot_connection *c = x->state;
	struct instant deadline = clock_deadline(duration_s(REPLY_TIMEOUT_S));

	stream_set_deadline(c->stream, deadline);
	for (;;) {
		struct dovecot_line line;
		int err = read_line(c, &x->arena, &line);

		if (err)
			return err;
		if ((line.verb == DOVECOT_OK || line.verb == DOVECOT_CONT || line.verb == DOVECOT_FAIL) &&
		    line.number == c->last_id) {
			stream_set_deadline(c->stream, INSTANT_NEVER);
			take_line(x, &line, ret);
			return 0;
		}
		/* Dovecot may tell anew what it can do; a flood of it ends at the deadline. */
	}
}

static int send_line(struct dovecot_connection *c, struct buf *line)
{
	int err = stream_write(c->stream, buf_str(line));

	return err ? err : stream_flush(c->stream);
}

/* Nothing but base64 may stand in a line to Dovecot: tabs and newlines would be commands. */
static bool is_base64(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!ascii_is_alnum(s.ptr[i]) && s.ptr[i] != '+' && s.ptr[i] != '/' && s.ptr[i] != '=')
			return false;
	return true;
}

static void make_request(struct sasl_exchange *x, struct dovecot_connection *c, struct str initial, struct buf *to)
{
	const struct sasl_peer *peer = &x->peer;

	buf_addf(to, "AUTH\t%u\t%.*s\tservice=%.*s\tnologin\tlip=%.*s\trip=%.*s", ++c->last_id, STR_ARG(x->method),
	         STR_ARG(x->server->params->smtpd_sasl_service), STR_ARG(peer->server_address), STR_ARG(peer->client_address));
	if (!str_is_empty(peer->server_port))
		buf_addf(to, "\tlport=%.*s", STR_ARG(peer->server_port));
	if (!str_is_empty(peer->client_port))
		buf_addf(to, "\trport=%.*s", STR_ARG(peer->client_port));
	if (peer->has_tls)
		buf_add(to, STR("\tsecured"));
	/* What follows resp= belongs to it, so it is the last. */
	if (initial.ptr)
		buf_addf(to, "\tresp=%.*s", STR_ARG(initial));
	buf_add_char(to, '\n');
}

static int begin_once(struct sasl_exchange *x, struct str initial, struct sasl_result *ret)
{
	struct dovecot_connection *c;
	struct buf line;
	int err = take_connection(x->server->state, &c);

	if (err)
		return err;
	x->state = c;
	line = BUF_INIT(LINE_MAX_SIZE);
	(void)!buf_room(&line, initial.len + 1024);
	make_request(x, c, initial, &line);
	err = buf_check(&line);
	if (!err)
		err = send_line(c, &line);
	sasl_wipe(&line);
	return err ? err : read_answer(x, ret);
}

static void dovecot_begin(struct sasl_exchange *x, struct str initial, struct sasl_result *ret)
{
	int err;

	if (!is_base64(initial)) {
		sasl_result_set(x, ret, SASL_MALFORMED, "Invalid base64 data in initial response");
		return;
	}
	for (;;) {
		bool was_idle;

		err = begin_once(x, initial, ret);
		if (!err)
			return;
		/* Dovecot may have been started anew since a kept connection was used. */
		was_idle = x->state && ((struct dovecot_connection *)x->state)->was_idle;
		dovecot_end(x);
		if (!was_idle || err == -ETIMEDOUT || err == -ECANCELED)
			break;
	}
	fail_temporarily(x, err, ret);
}

static void dovecot_step(struct sasl_exchange *x, struct str response, struct sasl_result *ret)
{
	struct dovecot_connection *c = x->state;
	struct buf line = BUF_INIT(LINE_MAX_SIZE);
	int err;

	if (!is_base64(response)) {
		sasl_result_set(x, ret, SASL_MALFORMED, "Invalid base64 data in continued response");
		return;
	}
	if (!buf_room(&line, response.len + 64)) {
		sasl_result_set(x, ret, SASL_FAILED, "the response is too long");
		return;
	}
	buf_addf(&line, "CONT\t%u\t%.*s\n", c->last_id, STR_ARG(response));
	err = send_line(c, &line);
	sasl_wipe(&line);
	if (!err)
		err = read_answer(x, ret);
	if (err) {
		dovecot_end(x);
		fail_temporarily(x, err, ret);
	}
}

const struct sasl_backend sasl_backend_dovecot = {
	.type = "dovecot",
	.open = dovecot_open,
	.close = dovecot_close,
	.mechanisms = dovecot_mechanisms,
	.begin = dovecot_begin,
	.step = dovecot_step,
	.end = dovecot_end,
};
