/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing connections, and what is said before the first MAIL. */
#include "role/smtp/connection.h"

#include <errno.h>

#include "base/log.h"
#include "config/params.h"
#include "net/connect.h"
#include "net/ip.h"
#include "role/smtp/dane.h"
#include "role/smtp/smtp_auth.h"
#include "role/smtp/smtp_tls.h"

enum {
	REPLY_LINE_MAX = 2048,
	REPLY_PATIENCE = 3 /* the whole reply may take so many times what each wait may */
};

void connection_free(struct connection *c)
{
	if (!c)
		return;
	stream_free(c->stream);
	server_reply_done(&c->reply);
	free(c->host);
	free(c->peer);
	free(c->relay);
	free(c->key);
	free(c->auth);
	free(c);
}

void connection_close(struct connection *c)
{
	struct arena a = ARENA_INIT;
	struct verdict v;

	if (!c)
		return;
	if (!c->is_broken && !c->has_quit) {
		stream_set_timeout(c->stream, c->settings->quit_timeout);
		if (!stream_write(c->stream, STR("QUIT\r\n")) && !stream_flush(c->stream) && !c->settings->skips_quit_reply)
			(void)!connection_read(c, c->settings->quit_timeout, "sending QUIT command", &a, &v);
	}
	arena_done(&a);
	connection_free(c);
}

/* The verdict's fields that tell with whom we spoke. */
static void sign(const struct connection *c, struct arena *a, struct verdict *v)
{
	v->relay = arena_str(a, str_of(c->relay));
	v->mta = arena_str(a, str_of(c->host));
}

void connection_lost(struct connection *c, int err, const char *phase, struct arena *a, struct verdict *v)
{
	*v = (struct verdict){.dsn = STR("4.4.2")};
	if (err == -ETIMEDOUT)
		v->text = arena_printf(a, "conversation with %s timed out while %s", c->peer, phase);
	else
		v->text = arena_printf(a, "lost connection with %s while %s", c->peer, phase);
	v->is_tls_lost = stream_tls(c->stream) != NULL;
	sign(c, a, v);
	c->is_broken = true;
}

void connection_said(const struct connection *c, const char *command, struct arena *a, struct verdict *v)
{
	*v = (struct verdict){.is_permanent = c->reply.code >= 500, .dsn = server_reply_dsn(&c->reply, a)};
	v->diagnostic = server_reply_text(&c->reply, a);
	v->text = arena_printf(a, "host %s said: %.*s (in reply to %s command)", c->peer, STR_ARG(v->diagnostic), command);
	sign(c, a, v);
}

static void refused(const struct connection *c, struct arena *a, struct verdict *v)
{
	*v = (struct verdict){.is_permanent = c->reply.code >= 500, .is_site = true, .dsn = server_reply_dsn(&c->reply, a)};
	v->diagnostic = server_reply_text(&c->reply, a);
	v->text = arena_printf(a, "host %s refused to talk to me: %.*s", c->peer, STR_ARG(v->diagnostic));
	sign(c, a, v);
}

int connection_read(struct connection *c, struct duration timeout, const char *phase, struct arena *a, struct verdict *v)
{
	struct str line;
	bool is_bare;
	int err;

	server_reply_reset(&c->reply);
	stream_set_timeout(c->stream, timeout);
	/* A server that dribbles shall not hold us for ever. */
	stream_set_deadline(c->stream, clock_deadline((struct duration){REPLY_PATIENCE * timeout.ns}));
	do {
		err = stream_read_line(c->stream, REPLY_LINE_MAX, &line, &is_bare);
		if (err == -EMSGSIZE)
			err = 0;
	} while (!err && !server_reply_add(&c->reply, line));
	stream_set_deadline(c->stream, INSTANT_NEVER);
	if (err == -ECANCELED)
		return err;
	if (err) {
		connection_lost(c, err, phase, a, v);
		return -EHOSTUNREACH;
	}
	if (!c->reply.code) {
		/* Whatever this is, it is not SMTP, and what comes next cannot be trusted to be. */
		connection_said(c, "unknown", a, v);
		v->text = arena_printf(a, "host %s said what is no reply: %.*s", c->peer, STR_ARG(v->diagnostic));
		v->dsn = STR("4.5.0");
		c->is_broken = true;
		return -EHOSTUNREACH;
	}
	if (c->reply.code == 421)
		c->is_broken = true;
	return 0;
}

/* A site's answer that is not what we need. */
static int site_failed(struct verdict *v)
{
	v->is_site = true;
	return -EHOSTUNREACH;
}

static int command(struct connection *c, struct str line, struct duration timeout, const char *phase, struct arena *a,
                   struct verdict *v)
{
	int err = stream_write(c->stream, line);

	if (!err)
		err = connection_read(c, timeout, phase, a, v);
	else
		connection_lost(c, err, phase, a, v);
	return err && err != -ECANCELED ? site_failed(v) : err;
}

static int read_greeting(struct connection *c, struct arena *a, struct verdict *v)
{
	int err = connection_read(c, c->settings->helo_timeout, "receiving the initial server greeting", a, v);

	if (err)
		return err == -ECANCELED ? err : site_failed(v);
	c->knows_ehlo = c->settings->sends_ehlo || str_list_has(buf_str(&c->reply.text), STR("ESMTP"));
	if (c->reply.code / 100 == 2)
		return 0;
	refused(c, a, v);
	/* A server that refuses everyone is out of order: another one may do better. */
	if (c->settings->skips_5xx_greeting && v->is_permanent) {
		v->is_permanent = false;
		v->dsn = arena_printf(a, "4%.*s", STR_ARG(str_from(v->dsn, 1)));
	}
	return -EHOSTUNREACH;
}

static int say_hello(struct connection *c, const char *verb, const char *phase, struct arena *a, struct verdict *v)
{
	struct str line = arena_printf(a, "%s %.*s\r\n", verb, STR_ARG(c->settings->helo_name));
	int err = command(c, line, c->settings->helo_timeout, phase, a, v);

	/* Nothing of an earlier answer stays: what was said before TLS may have been said by anyone (RFC 3207, 4.2). */
	c->ehlo = (struct ehlo){.name = STR("")};
	free(c->auth);
	c->auth = NULL;
	if (!err && c->reply.code / 100 == 2)
		ehlo_parse(&c->reply, c->settings->discard_keywords, &c->ehlo);
	if (c->ehlo.auth.len && c->settings->sasl_passwords)
		c->auth = str_cstr(c->ehlo.auth);
	return err;
}

/* Our own name in the answer: we have reached ourselves, and the mail would go round for ever. */
static int check_name(struct connection *c, struct str nexthop, struct arena *a, struct verdict *v)
{
	if (c->settings->is_lmtp || c->port != c->settings->port || !str_eq_nocase(c->ehlo.name, c->settings->params->myhostname))
		return 0;
	*v = (struct verdict){.is_permanent = true, .is_site = true, .is_loop = true, .dsn = STR("5.4.6")};
	v->text = arena_printf(a, "mail for %.*s loops back to myself", STR_ARG(nexthop));
	sign(c, a, v);
	return -EHOSTUNREACH;
}

static int hello(struct connection *c, struct str nexthop, bool may_helo, struct arena *a, struct verdict *v)
{
	bool is_lmtp = c->settings->is_lmtp;
	int err;

	if (c->knows_ehlo && !c->settings->never_sends_ehlo) {
		err = say_hello(c, is_lmtp ? "LHLO" : "EHLO",
		                is_lmtp ? "performing the LHLO handshake" : "performing the EHLO handshake", a, v);
		if (err)
			return err;
		if (c->reply.code / 100 == 2)
			return check_name(c, nexthop, a, v);
		if (is_lmtp || c->is_broken || !may_helo || c->reply.code / 100 != 5) {
			refused(c, a, v);
			return -EHOSTUNREACH;
		}
	}
	err = say_hello(c, "HELO", "performing the HELO handshake", a, v);
	if (err)
		return err;
	c->ehlo.keywords = 0;
	if (c->reply.code / 100 == 2)
		return check_name(c, nexthop, a, v);
	refused(c, a, v);
	return -EHOSTUNREACH;
}

static int tls_missing(const struct connection *c, struct str text, struct arena *a, struct verdict *v)
{
	*v = (struct verdict){.is_site = true, .dsn = STR("4.7.4"), .text = text};
	sign(c, a, v);
	return -EHOSTUNREACH;
}

static int start_refused(const struct connection *c, struct arena *a, struct verdict *v)
{
	*v = (struct verdict){.is_permanent = c->reply.code >= 500, .is_site = true, .dsn = server_reply_dsn(&c->reply, a)};
	v->diagnostic = server_reply_text(&c->reply, a);
	v->text = arena_printf(a, "TLS is required, but host %s refused to start TLS: %.*s", c->peer, STR_ARG(v->diagnostic));
	sign(c, a, v);
	return -EHOSTUNREACH;
}

static int smuggled(struct connection *c, struct arena *a, struct verdict *v)
{
	c->is_broken = true;
	*v = (struct verdict){.is_site = true, .is_tls_handshake = true, .dsn = STR("4.7.5")};
	v->text = arena_printf(a, "host %s sent more than a reply to STARTTLS before the handshake", c->peer);
	sign(c, a, v);
	log_tagged(c->settings->tag, LOG_LEVEL_WARN, "%.*s", STR_ARG(v->text));
	return -EHOSTUNREACH;
}

/* STARTTLS, where policy wants it and the server has it. */
static int secure(struct connection *c, const struct connection_wish *wish, struct arena *a, struct verdict *v)
{
	enum client_tls level = wish->policy->level;
	bool is_mandatory = level >= CLIENT_TLS_ENCRYPT;
	int err;

	if (c->ehlo.keywords & EHLO_STARTTLS && c->settings->tls_notes_offer && level == CLIENT_TLS_NONE)
		log_tagged(c->settings->tag, LOG_LEVEL_INFO, "Host offered STARTTLS: [%s]", c->host);
	if (level == CLIENT_TLS_NONE || wish->avoids_tls || stream_tls(c->stream))
		return 0;
	if (!(c->ehlo.keywords & EHLO_STARTTLS)) {
		wish->outcome->result = TLS_RESULT_STARTTLS_NOT_SUPPORTED;
		if (!is_mandatory)
			return 0;
		return tls_missing(c, arena_printf(a, "TLS is required, but was not offered by host %s", c->peer), a, v);
	}
	if (!is_mandatory && !c->settings->tls_may)
		return 0;
	err = command(c, STR("STARTTLS\r\n"), c->settings->starttls_timeout, "performing the STARTTLS handshake", a, v);
	if (err)
		return err;
	if (c->reply.code / 100 != 2) {
		wish->outcome->result = TLS_RESULT_STARTTLS_NOT_SUPPORTED;
		if (!is_mandatory)
			return 0;
		return start_refused(c, a, v);
	}
	/* A server speaks next inside TLS: what comes before was put there by someone who wants it taken for an answer. */
	if (stream_peek(c->stream).len)
		return smuggled(c, a, v);
	err = smtp_tls_start(c, wish, a, v);
	return err ? err : hello(c, wish->nexthop, false, a, v);
}

static void name_peer(struct connection *c, const struct connection_wish *wish)
{
	struct buf b = BUF_INIT(2048);
	char text[IP_TEXT_SIZE];

	if (wish->target) {
		const struct sockaddr *address = (const struct sockaddr *)&wish->target->address;

		c->port = ip_port(address);
		c->host = str_cstr(wish->target->host);
		buf_addf(&b, "%s[%s]", c->host, ip_format(address, text));
		c->peer = mem_strdup(buf_cstr(&b));
		buf_addf(&b, ":%u", c->port);
	} else {
		c->host = str_cstr(c->settings->params->myhostname);
		buf_addf(&b, "%s[%.*s]", c->host, STR_ARG(wish->path));
		c->peer = mem_strdup(buf_cstr(&b));
	}
	c->relay = buf_take(&b);
}

/* All that is known before anything is said. */
static void begin_outcome(const struct connection *c, const struct connection_wish *wish, struct arena *a)
{
	const struct dane *dane = wish->policy->dane;
	char text[IP_TEXT_SIZE];

	const struct tls_policy *p = wish->policy;

	*wish->outcome = (struct tls_outcome){.type = p->type,
	                                      .domain = p->domain,
	                                      .policy_domain = p->policy_domain.len ? p->policy_domain : p->domain,
	                                      .policy_strings = p->policy_strings,
	                                      .mx_patterns = p->mx_patterns};
	wish->outcome->mx_host = arena_str(a, str_of(c->host));
	if (dane) {
		wish->outcome->type = TLS_POLICY_TLSA;
		wish->outcome->policy_domain = dane->base;
		wish->outcome->policy_strings = dane->text;
	}
	if (wish->target)
		wish->outcome->mx_address =
			arena_str(a, str_of(ip_format((const struct sockaddr *)&wish->target->address, text)));
}

static int connect_local_stream(const struct connection *c, struct str path, struct stream **ret_stream)
{
	struct buf whole = BUF_INIT(1024);
	int fd, err;

	if (!str_starts(path, STR("/")))
		buf_addf(&whole, "%.*s/", STR_ARG(c->settings->params->queue_directory));
	buf_add(&whole, path);
	err = connect_local(buf_str(&whole), c->settings->connect_timeout, &fd);
	buf_done(&whole);
	if (!err)
		*ret_stream = stream_new(fd);
	return err;
}

static int reach(struct connection *c, const struct connection_wish *wish, struct arena *a, struct verdict *v)
{
	const struct smtp_settings *s = c->settings;
	const struct sockaddr *from = NULL;
	int err;

	if (wish->target) {
		bool is_v4 = wish->target->address.ss_family == AF_INET;

		if (is_v4 ? s->has_bind_v4 : s->has_bind_v6)
			from = (const struct sockaddr *)(is_v4 ? &s->bind_v4 : &s->bind_v6);
		err = connect_stream((const struct sockaddr *)&wish->target->address, from, s->connect_timeout, &c->stream);
	} else {
		err = connect_local_stream(c, wish->path, &c->stream);
	}
	if (!err || err == -ECANCELED)
		return err;
	*v = (struct verdict){.is_site = true, .dsn = STR("4.4.1")};
	v->text = arena_printf(a, "connect to %s: %s", c->relay, strerror(-err));
	log_tagged(s->tag, LOG_LEVEL_INFO, "%.*s", STR_ARG(v->text));
	return -EHOSTUNREACH;
}

static void note_our_address(const struct connection *c, const struct connection_wish *wish, struct arena *a)
{
	struct sockaddr_storage ours;
	socklen_t size = sizeof(ours);
	char text[IP_TEXT_SIZE];

	if (wish->target && !getsockname(stream_fd(c->stream), (struct sockaddr *)&ours, &size))
		wish->outcome->our_address = arena_str(a, str_of(ip_format((struct sockaddr *)&ours, text)));
}

int connection_open(const struct connection_wish *wish, struct arena *a, struct connection **ret_connection, struct verdict *v)
{
	struct connection *c = mem_alloc(sizeof(*c));
	int err;

	*ret_connection = NULL;
	c->settings = wish->settings;
	server_reply_init(&c->reply);
	list_init(&c->link);
	name_peer(c, wish);
	begin_outcome(c, wish, a);
	c->opened_at = clock_now();
	c->trust_ends = wish->policy->trust_ends;
	c->tls_level = wish->policy->level;
	c->is_half_dane = wish->policy->dane && wish->policy->dane->is_half;
	err = reach(c, wish, a, v);
	if (!err && c->settings->reports_tls)
		note_our_address(c, wish, a);
	if (!err && c->settings->tls_wrapper)
		err = smtp_tls_start(c, wish, a, v);
	if (!err)
		err = read_greeting(c, a, v);
	if (!err)
		err = hello(c, wish->nexthop, wish->policy->level < CLIENT_TLS_ENCRYPT, a, v);
	wish->outcome->mx_hello = arena_str(a, c->ehlo.name);
	if (!err)
		err = secure(c, wish, a, v);
	if (!err)
		err = smtp_auth(c, wish, a, v);
	if (!err)
		*ret_connection = c;
	else if (c->stream && err != -ECANCELED)
		connection_close(c);
	else
		connection_free(c);
	return err;
}
