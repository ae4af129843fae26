/* SPDX-License-Identifier: Apache-2.0 */
/* The role: what master's messages bring about. */
#include "process/process.h"
#include "role/qmgr/qmgr.h"

static struct qmgr qmgr;

/* Tables that only root may read are opened while we may. */
static int prepare(struct process *p, struct buf *why)
{
	return qmgr_init(&qmgr, p->config, why);
}

static int start(struct process *p, struct buf *why)
{
	return qmgr_open(&qmgr, why);
}

static void peer(struct process *p, enum ipc_role role, uint32_t id, struct channel *ch)
{
	peer_add(&qmgr, role, id, ch);
}

static void draining(struct process *p, enum ipc_role role, uint32_t id)
{
	peer_draining(&qmgr, role, id);
}

static void endpoint(struct process *p, struct str name, int fd)
{
	control_start(&qmgr, fd); /* rights.c gives us one: "qmgr" */
}

static int reconfigure(struct process *p, struct config *old, struct buf *why)
{
	return qmgr_reconfigure(&qmgr, p->config, why);
}

static void drain(void *arg)
{
	qmgr_drain(&qmgr);
	process_end(arg);
}

static void start_drain(struct process *p)
{
	fiber_start("drain", drain, p);
}

/* clang-format off */
static const struct role role = {.id = ROLE_QMGR, .prepare = prepare, .start = start, .endpoint = endpoint, .peer = peer,
	.peer_draining = draining, .reconfigure = reconfigure, .drain = start_drain};
/* clang-format on */

int main(int argc, char **argv)
{
	return process_main(&role, argc, argv);
}
