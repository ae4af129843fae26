/* SPDX-License-Identifier: Apache-2.0 */
/* The local role: delivers on this machine. */
#include "process/process.h"
#include "role/local/forward.h"
#include "role/local/local_jobs.h"
#include "role/local/work.h"
#include "table/table.h"

static void add_peer(struct process *p, enum ipc_role role, uint32_t id, struct channel *ch)
{
	if (role == ROLE_QMGR)
		local_jobs_serve(p, ch);
	else if (role == ROLE_SMTPD)
		forward_add_peer(id, ch);
	else
		channel_free(ch);
}

static void peer_draining(struct process *p, enum ipc_role role, uint32_t id)
{
	if (role == ROLE_SMTPD)
		forward_peer_draining(id);
}

int main(int argc, char **argv)
{
	static const struct role role_local = {.id = ROLE_LOCAL,
	                                       .peer = add_peer,
	                                       .peer_draining = peer_draining,
	                                       .drain = local_jobs_drain,
	                                       .give_up = process_end};

	/* A child of ours that is to become a user. */
	if (argc == 5 && strcmp(argv[1], "worker") == 0)
		return worker_main(argv);
	table_never_wait();
	return process_main(&role_local, argc, argv);
}
