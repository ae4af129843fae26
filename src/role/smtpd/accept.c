/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets of the inet services: one fiber each, one fiber a client.
 *
 * All processes share the sockets. Sessions that are together in one process cost much less than the same ones
 * spread over several, because each wake-up then serves more of them, and each sync more messages. So a process
 * takes clients at once only when it is the first of its rank; the others look after a while who
 * still waits, and come at once as long as there are some. One that has much to do holds back for them.
 */
#include <errno.h>
#include <unistd.h>

#include "base/log.h"
#include "net/connect.h"
#include "port.h"
#include "session.h"
#include "smtpd.h"

enum { PATIENCE_LEAST_MS = 1, PATIENCE_MOST_MS = 16, BUSY_MS = 5 };

struct acceptor {
	struct list link;
	struct port *port;
	struct watch watch;
	struct fiber *fiber;
	int64_t patience_ms; /* how long clients are left to others */
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

/* Somebody has connected: leaves him to the others for a while, if there are any whose turn it is. */
static int let_others(struct acceptor *at)
{
	uint32_t rank = smtpd.process->rank;
	int64_t wait_ms = rank * at->patience_ms + (loop_is_busy() ? BUSY_MS : 0);
	int fd = at->watch.fd;

	if (!wait_ms)
		return 0;
	at->patience_ms = at->patience_ms < PATIENCE_MOST_MS ? 2 * at->patience_ms : PATIENCE_MOST_MS;
	/* Out of the loop meanwhile, or each further client would wake it for nothing. */
	watch_done(&at->watch);
	watch_init_listener(&at->watch, fd);
	return fiber_sleep(duration_ms(wait_ms));
}

static int next_client(struct acceptor *at, int *ret_fd, struct sockaddr_storage *ret_peer)
{
	int err;

	while ((err = accept_now(at->watch.fd, ret_fd, ret_peer)) == -EAGAIN) {
		err = watch_wait(&at->watch, WATCH_READ, INSTANT_NEVER);
		if (!err)
			err = let_others(at);
		if (err)
			return err;
	}
	if (!err)
		at->patience_ms = PATIENCE_LEAST_MS;
	return err;
}

static void accept_clients(void *arg)
{
	struct acceptor *at = arg;
	struct sockaddr_storage peer;
	int fd, err;

	while ((err = next_client(at, &fd, &peer)) != -ECANCELED) {
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
	at->patience_ms = PATIENCE_LEAST_MS;
	watch_init_listener(&at->watch, fd);
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
