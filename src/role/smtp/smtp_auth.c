/* SPDX-License-Identifier: Apache-2.0 */
/* AUTH as a client. */
#include "role/smtp/smtp_auth.h"

#include <errno.h>

#include "base/encoding.h"
#include "base/log.h"
#include "config/config.h"
#include "config/params.h"
#include "fiber/fiber.h"
#include "net/tls.h"
#include "role/smtp/auth_cache.h"
#include "role/smtp/credentials.h"
#include "role/smtp/lookup_peer.h"
#include "sasl/client.h"

enum { LINE_MAX_SIZE = 128 * 1024, BINDING_MAX = 256 };

static int put_off(const struct connection *c, struct str text, struct arena *a, struct verdict *v)
{
	*v = (struct verdict){.is_site = true, .dsn = STR("4.7.0"), .text = text};
	v->relay = arena_str(a, str_of(c->relay));
	v->mta = arena_str(a, str_of(c->host));
	return -EHOSTUNREACH;
}

/* Sends one line and reads the reply. */
static int exchange(struct connection *c, struct buf *line, struct arena *a, struct verdict *v)
{
	int err;

	buf_add(line, STR("\r\n"));
	err = buf_check(line);
	if (!err)
		err = stream_write(c->stream, buf_str(line));
	if (line->ptr)
		explicit_bzero(line->ptr, line->len);
	buf_done(line);
	if (err) {
		connection_lost(c, err, "performing the SASL authentication", a, v);
		return -EHOSTUNREACH;
	}
	err = connection_read(c, c->settings->helo_timeout, "performing the SASL authentication", a, v);
	v->is_site |= err == -EHOSTUNREACH;
	return err;
}

/* Gives the dialogue up in good order, so that QUIT is taken for QUIT. */
static int cancel(struct connection *c, const char *why, struct arena *a, struct verdict *v)
{
	struct buf line = BUF_INIT(LINE_MAX_SIZE);
	int err;

	buf_add_char(&line, '*');
	err = exchange(c, &line, a, v);
	if (err)
		return err;
	return put_off(c, arena_printf(a, "SASL authentication failed; cannot authenticate to server %s: %s", c->peer, why), a,
	               v);
}

static void add_base64(struct buf *line, struct buf *response)
{
	base64_encode(line, buf_str(response));
	if (response->ptr)
		explicit_bzero(response->ptr, response->len);
	buf_done(response);
}

/* "AUTH MECHANISM", with the first response where the mechanism has one; "=" is an empty one. */
static int begin(struct connection *c, struct sasl_client *client, struct str mechanism, struct arena *a, struct verdict *v)
{
	struct buf line = BUF_INIT(LINE_MAX_SIZE), response = BUF_INIT(LINE_MAX_SIZE);
	const char *why;

	buf_addf(&line, "AUTH %.*s", STR_ARG(mechanism));
	if (sasl_client_is_first(client)) {
		if (sasl_client_step(client, STR(""), &response, &why)) {
			buf_done(&line);
			buf_done(&response);
			return put_off(
				c,
				arena_printf(a, "SASL authentication failed; cannot authenticate to server %s: %s", c->peer, why),
				a, v);
		}
		buf_add(&line, response.len ? STR(" ") : STR(" ="));
		add_base64(&line, &response);
	}
	return exchange(c, &line, a, v);
}

struct step {
	struct sasl_client *client;
	struct str challenge;
	struct buf *response;
	const char *why;
	int err;
};

static void step_on_thread(void *arg)
{
	struct step *s = arg;

	s->err = sasl_client_step(s->client, s->challenge, s->response, &s->why);
}

static int answer(struct connection *c, struct sasl_client *client, struct arena *a, struct verdict *v)
{
	struct buf challenge = BUF_INIT(LINE_MAX_SIZE), line = BUF_INIT(LINE_MAX_SIZE), response = BUF_INIT(LINE_MAX_SIZE);
	struct step s = {.client = client, .response = &response, .why = "the challenge is no base64"};
	int err = base64_decode(&challenge, str_trim(str_from(buf_str(&c->reply.text), 4)));

	if (!err) {
		s.challenge = buf_str(&challenge);
		(void)fiber_work(step_on_thread, &s);
		err = s.err;
	}
	add_base64(&line, &response);
	buf_done(&challenge);
	if (!err)
		return exchange(c, &line, a, v);
	buf_done(&line);
	return cancel(c, s.why, a, v);
}

static struct auth_attempt attempt_of(const struct connection *c, const struct credentials *who)
{
	return (struct auth_attempt){.host = str_of(c->host), .user = who->user, .secret = who->secret};
}

/* The server would not have us: 5.7.8 now, or some other day. */
static int refused(const struct connection *c, struct str said, struct str dsn, struct arena *a, struct verdict *v)
{
	(void)put_off(c, arena_printf(a, "SASL authentication failed; server %s said: %.*s", c->peer, STR_ARG(said)), a, v);
	v->diagnostic = said;
	v->dsn = dsn;
	/* A password that is wrong today may be mended tomorrow. */
	v->is_permanent = str_starts(said, STR("5")) && !c->settings->sasl_soft_bounce;
	if (!v->is_permanent)
		v->dsn = arena_printf(a, "4%.*s", STR_ARG(str_from(v->dsn, 1)));
	return -EHOSTUNREACH;
}

static int judge(const struct connection *c, const struct sasl_client *client, const struct credentials *who, struct arena *a,
                 struct verdict *v)
{
	struct auth_attempt attempt = attempt_of(c, who);
	struct str said = server_reply_text(&c->reply, a);

	if (c->reply.code / 100 == 2 && sasl_client_is_done(client))
		return 0;
	if (c->reply.code / 100 == 2)
		return put_off(c,
		               arena_printf(a, "SASL authentication failed; server %s did not prove that it knows the password",
		                            c->peer),
		               a, v);
	if (c->reply.code >= 500 && c->settings->sasl_cache_time.ns && !who->is_token)
		auth_cache_add(&attempt, said, c->settings->sasl_cache_time);
	return refused(c, said, server_reply_dsn(&c->reply, a), a, v);
}

static int log_in(struct connection *c, struct str mechanism, const struct sasl_login *login, const struct credentials *who,
                  struct arena *a, struct verdict *v)
{
	struct sasl_client *client;
	int err = sasl_client_new(mechanism, login, &client);

	if (err)
		return put_off(c,
		               arena_printf(a,
		                            "SASL authentication failed; name or password cannot be used with the mechanism %.*s",
		                            STR_ARG(mechanism)),
		               a, v);
	err = begin(c, client, mechanism, a, v);
	while (!err && c->reply.code == 334)
		err = answer(c, client, a, v);
	if (!err)
		err = judge(c, client, who, a, v);
	sasl_client_free(client);
	c->is_logged_in = !err;
	return err;
}

static unsigned demands_of(const struct connection *c)
{
	const struct smtp_settings *s = c->settings;

	if (!stream_tls(c->stream))
		return s->sasl_demands;
	return c->is_verified ? s->sasl_verified_demands : s->sasl_tls_demands;
}

static struct str choose(struct connection *c, struct sasl_login *login, struct buf *binding)
{
	if (!tls_channel_binding(c->stream, binding, &login->is_exporter))
		login->binding = buf_str(binding);
	return sasl_client_choose(str_of(c->auth), c->settings->sasl_filter, demands_of(c), login);
}

static int use(struct connection *c, const struct credentials *who, struct str mechanism, struct sasl_login *login,
               struct arena *a, struct verdict *v)
{
	struct auth_attempt attempt = attempt_of(c, who);
	struct str known = auth_cache_find(&attempt);

	if (known.len)
		return refused(c, arena_str(a, known), STR("5.7.8"), a, v);
	login->secret = who->secret;
	return log_in(c, mechanism, login, who, a, v);
}

static int get_token(struct connection *c, struct credentials *who, struct arena *a, struct verdict *v, bool *ret_is_new)
{
	int err = lookup_peer_ask_token(c->settings->view->service->name, who->user, a, &who->secret, ret_is_new);

	if (!err || err == -ECANCELED)
		return err;
	return put_off(c,
	               arena_printf(a, "SASL authentication failed; there is no access token (%s_sasl_token_command)",
	                            c->settings->is_lmtp ? "lmtp" : "smtp"),
	               a, v);
}

/* A token that was kept may have been called back before its time: then there is a second try with a new one. */
static int use_command(struct connection *c, struct credentials *who, struct str mechanism, struct sasl_login *login,
                       struct arena *a, struct verdict *v)
{
	bool is_new = false;

	for (;;) {
		int err = get_token(c, who, a, v, &is_new);
		bool is_refused;

		if (err)
			return err;
		err = use(c, who, mechanism, login, a, v);
		is_refused = err == -EHOSTUNREACH && !c->is_broken && c->reply.code / 100 == 5;
		if (is_refused)
			lookup_peer_refuse_token(c->settings->view->service->name, who->user, who->secret);
		if (!is_refused || is_new)
			return err;
	}
}

static int log_in_as(struct connection *c, struct credentials *who, struct arena *a, struct verdict *v)
{
	struct buf binding = BUF_INIT(BINDING_MAX);
	struct sasl_login login = {.user = who->user,
	                           .is_token = who->is_token,
	                           .names_twice = c->settings->params->send_cyrus_sasl_authzid,
	                           .host = str_of(c->host),
	                           .port = arena_printf(a, "%u", c->port)};
	struct str mechanism = choose(c, &login, &binding);
	int err;

	if (!mechanism.len)
		err = put_off(c,
		              arena_printf(a,
		                           "SASL authentication failed; server %s offered no compatible authentication "
		                           "mechanisms for this type of connection security",
		                           c->peer),
		              a, v);
	else if (who->is_from_command)
		err = use_command(c, who, mechanism, &login, a, v);
	else
		err = use(c, who, mechanism, &login, a, v);
	buf_done(&binding);
	return err;
}

int smtp_auth(struct connection *c, const struct connection_wish *wish, struct arena *a, struct verdict *v)
{
	struct buf why = BUF_INIT(1024);
	struct login_place place = {.sender = wish->sender, .host = str_of(c->host), .nexthop = wish->nexthop};
	struct credentials who;
	int err;

	if (!c->auth)
		return 0;
	err = credentials_find(c->settings, &place, a, &who, &why);
	if (err && err != -ENOENT) {
		log_tagged(c->settings->tag, LOG_LEVEL_WARN, "smtp_sasl_password_maps: %s", buf_cstr(&why));
		err = put_off(c, STR("SASL password lookup error"), a, v);
	} else {
		err = err ? 0 : log_in_as(c, &who, a, v);
	}
	buf_done(&why);
	return err;
}
