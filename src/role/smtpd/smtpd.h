/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process: what all its sessions share. It takes mail in over SMTP on the inet
 * services of master.cf, and over the pickup socket from the sendmail command and from
 * the other roles.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "config/config.h"
#include "fiber/fiber.h"
#include "ipc/channel.h"
#include "mail/queue_id.h"
#include "process/process.h"
#include "sasl/remote.h"
#include "spool/append.h"

struct port;

struct smtpd {
	struct process *process;
	struct port **ports; /* by service index; NULL where the service is not ours */
	size_t port_count;
	struct port *pickup; /* how mail from inside is treated */
	struct appender *appender;
	struct channel *qmgr;
	struct sasl_remote *sasl; /* the way to lookup */
	struct list lookups;      /* the lookup processes there are */
	struct queue_id_maker ids;
	struct client_counts *clients; /* what each client does, in all processes */
	struct list sessions;          /* of struct session */
	size_t busy_count;             /* sessions and submissions that must end before the process may */
	bool is_draining;
};

/* There is one process, so there is one of these. */
extern struct smtpd smtpd;
extern const struct role smtpd_role;

/* Around each piece of work that must be finished before the process may end. */
void smtpd_begin_work(void);
void smtpd_end_work(void);

/* Channels to other roles (peers.c). */
void peers_init(void);
void peers_add(enum ipc_role role, uint32_t id, struct channel *ch);
void peers_drain(enum ipc_role role, uint32_t id);
void peers_lost(struct channel *ch);
/* Takes what qmgr says about the spool; false when it is something else. */
bool peers_handle(const struct message *m);
/* SMTP clients (accept.c). */
void accept_start(struct port *port, int fd);
void accept_stop_all(void);

/* Mail from inside (submit.c). */
enum submit_from { SUBMIT_FROM_USER, SUBMIT_FROM_QMGR, SUBMIT_FROM_LOCAL };
void submit_listen(int fd);
void submit_stop(void);
/* Serves a peer's channel until it closes. */
void submit_add(struct channel *ch, enum submit_from from);
