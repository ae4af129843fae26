/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every role does first and does alike: it takes its configuration, sockets and
 * peers from master over a channel, opens its log, opens what only root may read,
 * becomes mail_owner, locks itself into its sandbox, and then serves.
 *
 *	static const struct role lookup = {.id = ROLE_LOOKUP, .start = start, .peer = add_peer, .drain = drain};
 *
 *	int main(int argc, char **argv)
 *	{
 *		return process_main(&lookup, argc, argv);
 *	}
 *
 * The order of the calls: prepare (as root), then the privileges go, start, then endpoint,
 * listener and peer once for each, then READY goes to master. All run in the fiber that
 * reads master's messages: they may wait a moment but must come back; lasting work is
 * a fiber of its own.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "ipc/channel.h"
#include "process/rights.h"

/* The descriptor at which master's channel lies when a role starts. */
enum { PROCESS_CONTROL_FD = 3 };

/*
 * In queue_directory: the number of master, which holds a write lock (fcntl) on the file as long as it runs. It is a new file
 * each time, locked before others can open it; so nobody's lock stands in its way.
 */
#define PID_FILE "pid/master.pid"
/* Locked by master, and to be opened by its user alone. */
#define PID_LOCK_FILE "pid/master.lock"

/* Our part of queue_directory; only qmgr creates files in it. */
#define PROCESS_SPOOL_FOLDER "postrider"

struct process {
	const struct role *role;
	const struct rights *rights;
	struct config *config;
	uint32_t generation; /* of the configuration */
	uint32_t rank;       /* among the processes of this role, from 0 */
	struct channel *master;
	bool is_ready;
	bool is_draining;
	bool is_stopping;
	struct list waiting; /* what came before GO */
};

/* What master says to roles that speak TLS; process_tls does it for all of them. */
struct process_tls {
	/* Tells master which files were read, so that it watches them. */
	void (*watch)(struct process *p);
	/* One that was opened anew; the descriptor is taken over. */
	void (*file)(struct process *p, struct str path, int fd);
	/* That was the last one: contexts are made again for the connections that come. */
	void (*renew)(struct process *p, bool is_reporter);
	void (*ticket_keys)(struct process *p, struct str keys);
};
extern const struct process_tls process_tls;

/* The role's own part. What a role has no use for stays NULL. */
struct role {
	enum ipc_role id;
	const struct process_tls *tls; /* &process_tls in roles with TLS */
	/* While still root: open tables, keys and certificates of p->config. With an error and *why the role gives up. */
	int (*prepare)(struct process *p, struct buf *why);
	/* In the sandbox, before anything arrives. */
	int (*start)(struct process *p, struct buf *why) WAITS;
	/* A listening socket of the service; the descriptor is the role's from now on. */
	void (*listener)(struct process *p, const struct service *service, int fd);
	/* The table that clients are counted in, before any listener; the descriptor is the role's. */
	void (*clients)(struct process *p, uint32_t column, int fd);
	/* A listening SOCK_SEQPACKET socket for channel_accept(). */
	void (*endpoint)(struct process *p, struct str name, int fd);
	/* A new peer; the channel is the role's. `id` tells several of one role apart. */
	void (*peer)(struct process *p, enum ipc_role role, uint32_t id, struct channel *ch);
	/* That peer ends soon: give it no new work. Its channel closes when it has finished. */
	void (*peer_draining)(struct process *p, enum ipc_role role, uint32_t id);
	/*
	 * p->config is the new configuration already; the role frees `old` when nothing uses it any
	 * more. Only for roles that are kept on reload. With an error the new one is thrown away.
	 */
	int (*reconfigure)(struct process *p, struct config *old, struct buf *why) WAITS;
	/* Accept nothing new and finish; then call process_end(). Without it the process ends at once. */
	void (*drain)(struct process *p);
	/* After `drain`: the system stops and has waited for a while. Break off what can be done again later. */
	void (*give_up)(struct process *p);
};

/* The whole life of a role. Returns only when it was not started by master: the exit status. */
int process_main(const struct role *role, int argc, char **argv);
/* Ends the process when the present round of the loop is over. */
void process_end(struct process *p);
/* A lookup table file was replaced: master starts a new generation of this role. `whose` names its user for the log. */
void process_table_changed(struct process *p, struct str whose);
