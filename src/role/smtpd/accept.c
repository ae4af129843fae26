/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets of the inet services: one fiber each, one fiber a client. */
#include <errno.h>
#include <unistd.h>

#include "base/log.h"
#include "net/connect.h"
#include "port.h"
#include "session.h"
#include "smtpd.h"

struct acceptor {
	struct list link;
	struct port *port;
	struct watch watch;
	struct fiber *fiber;
};

struct arrival {
	struct port *port;
	int fd;
	struct sockaddr_storage peer;
};

static struct list acceptors;

static void serve_client(void *arg)
{
	struct arrival a = *(struct arrival *)arg;

	free(arg);
	session_run(a.port, a.fd, &a.peer);
	smtpd_end_work();
}

/* Tables that were written anew are opened by a new generation of this role; sessions under way keep the old ones. */
static void look_for_changes(const struct port *port)
{
	static struct instant next;
	static bool has_told;
	struct instant now = clock_now();

	if (has_told || instant_is_before(now, next))
		return;
	next = instant_after(now, duration_s(1));
	if (port_has_changed(port)) {
		has_told = true;
		process_table_changed(smtpd.process, port->view->service->name);
	}
}

static void accept_clients(void *arg)
{
	struct acceptor *at = arg;
	struct sockaddr_storage peer;
	int fd, err;

	while ((err = accept_next(&at->watch, INSTANT_NEVER, &fd, &peer)) != -ECANCELED) {
		struct arrival *a;

		if (err) {
			/* Out of descriptors or memory: clients wait in the backlog meanwhile. */
			log_warn("accept connection: %s", strerror(-err));
			if (fiber_sleep(duration_ms(200)) == -ECANCELED)
				break;
			continue;
		}
		a = mem_alloc(sizeof(*a));
		*a = (struct arrival){.port = at->port, .fd = fd, .peer = peer};
		look_for_changes(at->port);
		smtpd_begin_work();
		fiber_start("session", serve_client, a);
	}
	list_remove(&at->link);
	fd = at->watch.fd;
	watch_done(&at->watch);
	close(fd);
	free(at);
}

void accept_start(struct port *port, int fd)
{
	struct acceptor *at = mem_alloc(sizeof(*at));

	if (!acceptors.next)
		list_init(&acceptors);
	at->port = port;
	watch_init(&at->watch, fd);
	list_add(&acceptors, &at->link);
	at->fiber = fiber_start("accept", accept_clients, at);
}

void accept_stop_all(void)
{
	if (!acceptors.next)
		return;
	LIST_EACH(&acceptors, it)
		fiber_cancel(LIST_ENTRY(it, struct acceptor, link)->fiber);
}
