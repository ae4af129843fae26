/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check_policy_service: asks another program, in the protocol of SMTPD_POLICY_README:
 * "name=value" lines and an empty line there, "action=RESULT" and an empty line back.
 *
 * The argument is "inet:host:port", "unix:path", or either in braces with attributes:
 * { inet:127.0.0.1:9998, timeout = 10s, default_action = DUNNO }.
 *
 * Connections are kept and used again. An old one may have been closed by the server in
 * between, which is why a failed attempt is followed by another on a new connection.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fiber/fiber.h"
#include "net/connect.h"
#include "net/dns.h"
#include "net/ip.h"
#include "net/stream.h"
#include "policy/policy_internal.h"

enum { LINE_MAX_SIZE = 8192, LINES_MAX = 1000, IDLE_MAX = 50 };

struct policy_service {
	struct str endpoint; /* without "unix:" or "inet:" in front */
	bool is_local;
	struct str path; /* of a local one, in full */
	struct str host, port;
	struct duration timeout, max_idle, max_ttl, retry_delay;
	int64_t request_limit, try_limit;
	struct str default_action, context;
	struct list idle; /* of struct connection, the latest first */
	size_t idle_count;
};

struct connection {
	struct list link;
	struct stream *stream;
	struct instant born, used;
	int64_t requests;
};

/* --- the argument -------------------------------------------------------------------------- */

static int parse_time(struct str text, struct duration *ret)
{
	static const struct {
		char unit;
		int64_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
	unsigned long long value;
	int64_t factor = 1;

	for (size_t i = 0; i < COUNT_OF(units); i++)
		if (text.len && ascii_lower(text.ptr[text.len - 1]) == units[i].unit) {
			factor = units[i].seconds;
			text = str_cut(text, 0, text.len - 1);
			break;
		}
	if (str_parse_u64(text, &value) || value > 1000000 || (int64_t)value * factor > INT32_MAX)
		return -EINVAL;
	*ret = duration_s((int64_t)value * factor);
	return 0;
}

static int set_attribute(struct policy *p, struct policy_service *ps, struct str name, struct str value)
{
	const struct {
		const char *name;
		struct duration *time;
		int64_t *number;
		struct str *text;
	} attributes[] = {
		{"timeout", &ps->timeout, NULL, NULL},
		{"max_idle", &ps->max_idle, NULL, NULL},
		{"max_ttl", &ps->max_ttl, NULL, NULL},
		{"retry_delay", &ps->retry_delay, NULL, NULL},
		{"request_limit", NULL, &ps->request_limit, NULL},
		{"try_limit", NULL, &ps->try_limit, NULL},
		{"default_action", NULL, NULL, &ps->default_action},
		{"policy_context", NULL, NULL, &ps->context},
	};

	for (size_t i = 0; i < COUNT_OF(attributes); i++) {
		unsigned long long number;

		if (!str_eq(name, str_of(attributes[i].name)))
			continue;
		if (attributes[i].time)
			return parse_time(value, attributes[i].time);
		if (attributes[i].text) {
			*attributes[i].text = arena_str(&p->arena, value);
			return 0;
		}
		if (str_parse_u64(value, &number) || number > 1000000)
			return -EINVAL;
		*attributes[i].number = (int64_t)number;
		return 0;
	}
	return -EINVAL;
}

static struct str without_braces(struct str s)
{
	return s.len >= 2 && s.ptr[0] == '{' && s.ptr[s.len - 1] == '}' ? str_trim(str_cut(s, 1, s.len - 2)) : s;
}

/* "name = value" or "{ name = value }" one after the other. */
static int parse_attributes(struct policy *p, struct policy_service *ps, struct str rest, struct buf *why)
{
	struct str item;

	while (str_next_braced(&rest, ",\r\n", &item)) {
		struct str inner = without_braces(str_trim(item));
		struct str name, value;

		if (str_is_empty(inner))
			continue;
		if (!str_split(inner, '=', &name, &value) ||
		    set_attribute(p, ps, str_trim(name), without_braces(str_trim(value)))) {
			buf_addf(why, "check_policy_service: bad attribute \"%.*s\"", STR_ARG(inner));
			return -EINVAL;
		}
	}
	return 0;
}

static int parse_endpoint(struct policy *p, struct policy_service *ps, struct str endpoint, struct buf *why)
{
	struct str type = {0}, rest = {0};

	if (str_split(endpoint, ':', &type, &rest) && str_eq(type, STR("unix"))) {
		ps->is_local = true;
		ps->endpoint = arena_str(&p->arena, rest);
		ps->path = rest.len && rest.ptr[0] == '/'
		                   ? ps->endpoint
		                   : arena_printf(&p->arena, "%.*s/%.*s", STR_ARG(p->params->queue_directory), STR_ARG(rest));
		return 0;
	}
	if (str_eq(type, STR("inet")) && str_find_last(rest, ':') < rest.len) {
		size_t colon = str_find_last(rest, ':');

		ps->endpoint = arena_str(&p->arena, rest);
		ps->host = str_cut(ps->endpoint, 0, colon);
		ps->port = str_from(ps->endpoint, colon + 1);
		if (ps->host.len >= 2 && ps->host.ptr[0] == '[')
			ps->host = str_cut(ps->host, 1, ps->host.len - 2);
		if (str_is_empty(ps->host))
			ps->host = STR("localhost");
		return 0;
	}
	buf_addf(why, "check_policy_service: \"%.*s\" should be inet:host:port or unix:path", STR_ARG(endpoint));
	return -EINVAL;
}

int policy_service_open(struct policy *p, struct str argument, struct policy_service **ret_service, struct buf *why)
{
	const struct params *params = p->params;
	struct policy_service *ps = map_find(&p->services, argument);
	struct str rest = without_braces(argument);
	struct str endpoint = {0};
	int err;

	*ret_service = ps;
	if (ps)
		return 0;
	*ret_service = ps = arena_alloc(&p->arena, sizeof(*ps));
	list_init(&ps->idle);
	ps->timeout = params->smtpd_policy_service_timeout;
	ps->max_idle = params->smtpd_policy_service_max_idle;
	ps->max_ttl = params->smtpd_policy_service_max_ttl;
	ps->retry_delay = params->smtpd_policy_service_retry_delay;
	ps->request_limit = params->smtpd_policy_service_request_limit;
	ps->try_limit = params->smtpd_policy_service_try_limit;
	ps->default_action = params->smtpd_policy_service_default_action;
	ps->context = params->smtpd_policy_service_policy_context;
	(void)map_set(&p->services, argument, ps);
	(void)str_next_braced(&rest, ", \t\r\n", &endpoint);
	err = parse_endpoint(p, ps, endpoint, why);
	return err ? err : parse_attributes(p, ps, rest, why);
}

/* --- connections ----------------------------------------------------------------------------- */

static void connection_free(struct connection *c)
{
	stream_free(c->stream);
	free(c);
}

void policy_service_close(struct policy_service *ps)
{
	LIST_EACH(&ps->idle, link) {
		list_remove(link);
		connection_free(LIST_ENTRY(link, struct connection, link));
	}
}

static bool is_worn(const struct policy_service *ps, const struct connection *c)
{
	struct instant now = clock_now();

	return instant_is_before(instant_after(c->used, ps->max_idle), now) ||
	       instant_is_before(instant_after(c->born, ps->max_ttl), now) ||
	       (ps->request_limit && c->requests >= ps->request_limit);
}

static struct connection *take_idle(struct policy_service *ps)
{
	while (!list_is_empty(&ps->idle)) {
		struct connection *c = LIST_ENTRY(list_first(&ps->idle), struct connection, link);

		list_remove(&c->link);
		ps->idle_count--;
		if (!is_worn(ps, c) && stream_is_quiet(c->stream))
			return c;
		connection_free(c);
	}
	return NULL;
}

static void give_back(struct policy_service *ps, struct connection *c)
{
	c->used = clock_now();
	c->requests++;
	if (ps->idle_count >= IDLE_MAX || is_worn(ps, c)) {
		connection_free(c);
		return;
	}
	list_add_first(&ps->idle, &c->link);
	ps->idle_count++;
}

static int connect_host(struct run *r, struct policy_service *ps, int *ret_fd)
{
	struct dns_answer answer;
	uint16_t port;
	int err = ip_parse_port(ps->port, &port);

	if (!err)
		err = dns_addresses(ps->host, true, true, true, r->s->arena, &answer);
	if (!err && answer.status != DNS_FOUND)
		err = -EHOSTUNREACH;
	for (size_t i = 0; !err && i < answer.count; i++) {
		struct sockaddr_storage to;

		err = ip_from_bytes(answer.records[i].data, port, &to);
		if (!err)
			err = connect_tcp((struct sockaddr *)&to, NULL, ps->timeout, ret_fd);
		if (!err || err == -ECANCELED || i + 1 == answer.count)
			break;
		err = 0;
	}
	return err;
}

static int connect_server(struct run *r, struct policy_service *ps, struct connection **ret_connection)
{
	struct connection *c;
	int fd = -1;
	int err = ps->is_local ? connect_local(ps->path, ps->timeout, &fd) : connect_host(r, ps, &fd);

	if (err)
		return err;
	c = mem_alloc(sizeof(*c));
	list_init(&c->link);
	c->stream = stream_new(fd);
	c->born = c->used = clock_now();
	stream_set_timeout(c->stream, ps->timeout);
	*ret_connection = c;
	return 0;
}

/* --- one question ------------------------------------------------------------------------------ */

/* Values come from strangers: a newline would be a line of its own. */
static void add(struct buf *to, const char *name, struct str value)
{
	buf_addf(to, "%s=", name);
	for (size_t i = 0; i < value.len; i++)
		buf_add_char(to, value.ptr[i] == '\n' || value.ptr[i] == '\r' || value.ptr[i] == '\0' ? '?' : value.ptr[i]);
	buf_add_char(to, '\n');
}

static void add_number(struct buf *to, const char *name, uint64_t value)
{
	buf_addf(to, "%s=%llu\n", name, (unsigned long long)value);
}

/* Characters that would not survive go as "+XX" (RFC 3461, xtext). */
static void add_xtext(struct buf *to, const char *name, struct str value)
{
	buf_addf(to, "%s=", name);
	for (size_t i = 0; i < value.len; i++) {
		unsigned char c = (unsigned char)value.ptr[i];

		if (c == '+' || c == '=' || c < '!' || c > '~')
			buf_addf(to, "+%02X", c);
		else
			buf_add_char(to, (char)c);
	}
	buf_add_char(to, '\n');
}

static void add_session(struct buf *to, const struct run *r)
{
	const struct policy_session *s = r->s;

	add(to, "client_address", s->client_address);
	add(to, "client_name", s->client_name);
	add(to, "client_port", s->client_port);
	add(to, "reverse_client_name", s->client_reverse_name);
	add(to, "server_address", s->server_address);
	add(to, "server_port", s->server_port);
	add(to, "helo_name", s->helo);
	add(to, "sender", s->sender);
	add(to, "recipient", s->recipient);
	add_number(to, "recipient_count", r->list == LIST_DATA || r->list == LIST_END_OF_DATA ? s->recipient_count : 0);
	add(to, "queue_id", s->queue_id);
	add(to, "instance", s->instance);
	add_number(to, "size", s->size);
	add(to, "etrn_domain", s->etrn_domain);
	add(to, "stress", r->p->params->stress);
	add(to, "sasl_method", s->sasl_method);
	add(to, "sasl_username", s->sasl_username);
	add(to, "sasl_sender", s->sasl_sender);
}

static void make_request(struct buf *to, const struct run *r, const struct policy_service *ps)
{
	const struct policy_session *s = r->s;

	add(to, "request", STR("smtpd_access_policy"));
	add(to, "protocol_state", str_of(r->stage));
	add(to, "protocol_name", s->is_esmtp ? STR("ESMTP") : STR("SMTP"));
	add_session(to, r);
	add_xtext(to, "ccert_subject", s->is_ccert_trusted ? s->ccert_subject : STR(""));
	add_xtext(to, "ccert_issuer", s->is_ccert_trusted ? s->ccert_issuer : STR(""));
	add(to, "ccert_fingerprint", s->ccert_fingerprint);
	add(to, "ccert_pubkey_fingerprint", s->ccert_pubkey_fingerprint);
	add(to, "encryption_protocol", s->tls_protocol);
	add(to, "encryption_cipher", s->tls_cipher);
	add_number(to, "encryption_keysize", (uint64_t)(s->tls_cipher_bits > 0 ? s->tls_cipher_bits : 0));
	add(to, "tls_sni", s->tls_sni);
	add(to, "policy_context", ps->context);
	add(to, "compatibility_level", r->p->params->compatibility_level);
	add(to, "mail_version", r->p->params->mail_version);
	buf_add_char(to, '\n');
}

/* Reads to the empty line; the last action counts. -EPROTO when there is none. */
static int read_answer(struct run *r, struct stream *stream, struct str *ret_action)
{
	bool has_action = false;

	for (size_t lines = 0; lines < LINES_MAX; lines++) {
		struct str line, name, value;
		bool is_bare;
		int err = stream_read_line(stream, LINE_MAX_SIZE, &line, &is_bare);

		if (err)
			return err;
		if (str_is_empty(line))
			return has_action ? 0 : -EPROTO;
		if (!str_split(line, '=', &name, &value))
			return -EPROTO;
		if (str_eq(str_trim(name), STR("action"))) {
			*ret_action = arena_str(r->s->arena, str_trim(value));
			has_action = true;
		}
	}
	return -EPROTO;
}

/* *ret_is_stale: the connection was an old one, which says nothing about the server. */
static int ask_once(struct run *r, struct policy_service *ps, struct str request, struct str *ret_action, bool *ret_is_stale)
{
	struct connection *c = take_idle(ps);
	int err = 0;

	*ret_is_stale = c != NULL;
	if (!c)
		err = connect_server(r, ps, &c);
	if (err) {
		run_note(r, NOTE_WARNING, STR(""), "connect to %.*s: %s", STR_ARG(ps->endpoint), strerror(-err));
		return err;
	}
	err = stream_write(c->stream, request);
	if (!err)
		err = stream_flush(c->stream);
	if (!err)
		err = read_answer(r, c->stream, ret_action);
	if (err)
		connection_free(c);
	else
		give_back(ps, c);
	return err;
}

enum verdict rule_check_policy_service(struct run *r, const struct rule *rule)
{
	struct policy_service *ps = rule->service;
	struct buf request = BUF_INIT(256 << 10);
	struct str action = {0};
	int err = -EAGAIN;

	make_request(&request, r, ps);
	for (int64_t tries = 0; err && err != -ECANCELED && tries < ps->try_limit;) {
		bool is_stale;

		if (tries && fiber_sleep(ps->retry_delay))
			break;
		do
			err = ask_once(r, ps, buf_str(&request), &action, &is_stale);
		while (is_stale && err && err != -ETIMEDOUT && err != -ECANCELED);
		tries++;
	}
	buf_done(&request);
	if (err) {
		run_note(r, NOTE_WARNING, STR(""), "problem talking to server %.*s: %s", STR_ARG(ps->endpoint), strerror(-err));
		run_explain(r, "%.*s does not answer: %s", STR_ARG(ps->endpoint), strerror(-err));
		action = ps->default_action;
	} else {
		run_explain(r, "the server says \"%.*s\"", STR_ARG(action));
	}
	if (str_is_empty(action))
		return DUNNO;
	return access_act(r, ps->endpoint, STR("policy query"), action, run_subject(r));
}
