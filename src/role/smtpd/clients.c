/* SPDX-License-Identifier: Apache-2.0 */
#include "clients.h"

#include <netinet/in.h>

#include "base/log.h"
#include "config/params.h"
#include "ipc/client_counts.h"
#include "session.h"
#include "smtpd.h"

_Static_assert((int)CLIENT_EVENT_COUNT <= (int)CLIENT_EVENTS_MAX, "the table has a word for each event");

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

/* The service and the leading bits of the address. */
static void format_key(const struct session *s, struct buf *key)
{
	const struct params *p = s->port->view->params;
	const struct service *service = s->port->view->service;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&s->peer;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&s->peer;
	bool is_v6 = s->peer.ss_family == AF_INET6;
	const void *bytes = is_v6 ? (const void *)&v6->sin6_addr : &v4->sin_addr;
	size_t size = is_v6 ? 16 : 4,
	       bits = (size_t)(is_v6 ? p->smtpd_client_ipv6_prefix_length : p->smtpd_client_ipv4_prefix_length);

	/* Its name: by number another generation might know it as another one. */
	buf_addf(key, "%.*s/%.*s:", STR_ARG(service->name), STR_ARG(service->type));
	for (size_t i = 0; i < size; i++) {
		unsigned char byte = ((const unsigned char *)bytes)[i];
		size_t kept = bits > 8 * i ? size_min(bits - 8 * i, 8) : 0;

		buf_add_char(key, (char)(byte & (0xff00 >> kept)));
	}
}

static void log_excess(struct session *s, const char *what, int64_t count)
{
	session_warn(s, "%s limit exceeded: %lld from %.*s for service %.*s", what, (long long)count, STR_ARG(s->name),
	             STR_ARG(s->port->view->service->name));
}

/* It takes tens of thousands of clients at once to get there; each of them alone does no harm. */
static void warn_full(void)
{
	static struct instant next;

	if (instant_is_before(clock_now(), next))
		return;
	next = clock_deadline(duration_s(60));
	log_warn("too many clients at once to count them all: limits do not hold for some");
}

bool clients_enter(struct session *s)
{
	const struct params *p = s->port->view->params;
	int64_t limit = p->smtpd_client_connection_count_limit;
	struct buf key = BUF_INIT(1000);
	uint32_t count = 0;

	if (s->is_limit_exempt || (limit <= 0 && !has_rate_limits(p)))
		return false;
	format_key(s, &key);
	s->counts = client_enter(smtpd.clients, buf_str(&key), p->anvil_rate_time_unit, &count);
	buf_done(&key);
	if (!s->counts)
		warn_full();
	if (limit > 0 && count > limit) {
		log_excess(s, "Connection concurrency", count);
		return true;
	}
	return clients_exceed(s, CLIENT_CONNECTS);
}

void clients_leave(struct session *s)
{
	if (s->counts)
		client_leave(smtpd.clients, s->counts);
}

bool clients_exceed(struct session *s, enum client_event event)
{
	const struct params *p = s->port->view->params;
	int64_t limit = limit_of(p, event), count;

	if (!s->counts || limit <= 0)
		return false;
	count = client_count(s->counts, event, p->anvil_rate_time_unit);
	if (count <= limit)
		return false;
	log_excess(s, limit_words[event], count);
	return true;
}
