/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets of the inet services: one fiber each, one fiber a client.
 *
 * All processes share the sockets. Sessions that are together in one process cost much less than the same ones
 * spread over several, because each wake-up then serves more of them, and each sync more messages. So the first
 * process takes clients until it fills its processor; then it holds back for a moment, and the next one takes them, and
 * so on. Whoever waits longer than that is taken by any process, whatever the busy ones are stuck in.
 */
#include <errno.h>
#include <unistd.h>

#include "base/log.h"
#include "ipc/client_counts.h"
#include "net/connect.h"
#include "port.h"
#include "session.h"
#include "smtpd.h"

enum { BUSY_MS = 5, PATIENCE_MS = 50 };

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

static void tell_busy(void *arg)
{
	if (loop_is_busy())
		client_counts_tell_busy(smtpd.clients, smtpd.process->rank, clock_now());
}

/* The first process is woken by every client; of the others one, which then looks whether it is needed. */
static void watch_listener(struct watch *w, int fd)
{
	if (smtpd.process->rank == 0)
		watch_init(w, fd);
	else
		watch_init_listener(w, fd);
}

/* Somebody has connected: leaves him to the others for a while, if it is the turn of one of them. */
static int let_others(struct acceptor *at)
{
	bool is_our_turn = client_counts_lower_are_busy(smtpd.clients, smtpd.process->rank, clock_now());
	int fd = at->watch.fd;

	if (is_our_turn && !loop_is_busy())
		return 0;
	/* Out of the loop meanwhile, or each further client would wake it for nothing. */
	watch_done(&at->watch);
	watch_listener(&at->watch, fd);
	return fiber_sleep(duration_ms(is_our_turn ? BUSY_MS : PATIENCE_MS));
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

	if (!acceptors.next) {
		list_init(&acceptors);
		loop_add_hook(tell_busy, NULL);
	}
	at->port = port;
	watch_listener(&at->watch, fd);
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
