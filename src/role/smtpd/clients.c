/* SPDX-License-Identifier: Apache-2.0 */
#include "clients.h"

#include <netinet/in.h>

#include "config/params.h"
#include "session.h"
#include "smtpd.h"

enum { KEPT_MAX = 100000 }; /* clients that are gone but remembered for their rates */

struct client {
	int64_t connections;
	struct instant window; /* when the present time unit began */
	int64_t events[CLIENT_EVENT_COUNT];
};

static const char *const limit_words[CLIENT_EVENT_COUNT] = {"Connection rate", "Message delivery request rate",
                                                            "Recipient address rate", "AUTH command rate",
                                                            "New TLS session rate"};

static int64_t limit_of(const struct params *p, enum client_event event)
{
	switch (event) {
	case CLIENT_CONNECTS:
		return p->smtpd_client_connection_rate_limit;
	case CLIENT_SENDS_MAIL:
		return p->smtpd_client_message_rate_limit;
	case CLIENT_NAMES_RECIPIENT:
		return p->smtpd_client_recipient_rate_limit;
	case CLIENT_AUTHENTICATES:
		return p->smtpd_client_auth_rate_limit;
	case CLIENT_STARTS_TLS:
		return p->smtpd_client_new_tls_session_rate_limit;
	default:
		return 0;
	}
}

static bool has_rate_limits(const struct params *p)
{
	for (int event = 0; event < CLIENT_EVENT_COUNT; event++)
		if (limit_of(p, (enum client_event)event) > 0)
			return true;
	return false;
}

/* The service and the leading bits of the address, in the session's arena. */
static struct str key_of(struct session *s)
{
	const struct params *p = s->port->view->params;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&s->peer;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&s->peer;
	bool is_v6 = s->peer.ss_family == AF_INET6;
	const void *bytes = is_v6 ? (const void *)&v6->sin6_addr : &v4->sin_addr;
	size_t size = is_v6 ? 16 : 4,
	       bits = (size_t)(is_v6 ? p->smtpd_client_ipv6_prefix_length : p->smtpd_client_ipv4_prefix_length);
	struct buf key = BUF_INIT(300);
	struct str copy;

	buf_addf(&key, "%zu:", s->port->view->service->index);
	for (size_t i = 0; i < size; i++) {
		unsigned char byte = ((const unsigned char *)bytes)[i];
		size_t kept = bits > 8 * i ? size_min(bits - 8 * i, 8) : 0;

		buf_add_char(&key, (char)(byte & (0xff00 >> kept)));
	}
	copy = arena_str(&s->arena, buf_str(&key));
	buf_done(&key);
	return copy;
}

/* Those that are neither connected nor inside their time unit. */
static void forget_old(const struct params *p)
{
	struct instant now = clock_now();
	struct str key;
	void *value;
	size_t at = 0;

	while (map_next(&smtpd.clients, &at, &key, &value)) {
		struct client *c = value;

		if (c->connections == 0 && duration_between(c->window, now).ns > p->anvil_rate_time_unit.ns)
			free(map_remove(&smtpd.clients, key));
	}
}

static void log_excess(struct session *s, const char *what, int64_t count)
{
	session_warn(s, "%s limit exceeded: %lld from %.*s for service %.*s", what, (long long)count, STR_ARG(s->name),
	             STR_ARG(s->port->view->service->name));
}

bool clients_enter(struct session *s)
{
	const struct params *p = s->port->view->params;
	int64_t limit = p->smtpd_client_connection_count_limit;
	struct client *c;

	if (s->is_limit_exempt || (limit <= 0 && !has_rate_limits(p)))
		return false;
	s->counted_as = key_of(s);
	c = map_find(&smtpd.clients, s->counted_as);
	if (!c) {
		if (map_count(&smtpd.clients) >= KEPT_MAX)
			forget_old(p);
		c = mem_alloc(sizeof(*c));
		(void)map_set(&smtpd.clients, s->counted_as, c);
	}
	c->connections++;
	if (limit > 0 && c->connections > limit) {
		log_excess(s, "Connection concurrency", c->connections);
		return true;
	}
	return clients_exceed(s, CLIENT_CONNECTS);
}

void clients_leave(struct session *s)
{
	struct client *c = s->counted_as.len > 0 ? map_find(&smtpd.clients, s->counted_as) : NULL;

	if (c && --c->connections == 0 && !has_rate_limits(s->port->view->params))
		free(map_remove(&smtpd.clients, s->counted_as));
}

bool clients_exceed(struct session *s, enum client_event event)
{
	const struct params *p = s->port->view->params;
	struct client *c = s->counted_as.len > 0 ? map_find(&smtpd.clients, s->counted_as) : NULL;
	int64_t limit = limit_of(p, event);
	struct instant now;

	if (!c || limit <= 0)
		return false;
	now = clock_now();
	if (c->window.ns == 0 || duration_between(c->window, now).ns > p->anvil_rate_time_unit.ns) {
		c->window = now;
		memset(c->events, 0, sizeof(c->events));
	}
	if (++c->events[event] <= limit)
		return false;
	log_excess(s, limit_words[event], c->events[event]);
	return true;
}
