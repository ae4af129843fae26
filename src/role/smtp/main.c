/* SPDX-License-Identifier: Apache-2.0 */
/* The smtp role: delivers to other hosts over SMTP, and over LMTP. */
#include "net/dns.h"
#include "process/process.h"
#include "role/smtp/lookup_peer.h"
#include "role/smtp/smtp_agent.h"
#include "role/smtp/smtp_settings.h"
#include "role/smtp/target.h"

/* Client keys may be readable for root alone, and the sandbox tells no interfaces. */
static int prepare(struct process *p, struct buf *why)
{
	int err = smtp_settings_load(p->config, why);

	targets_note_own(p->config);
	return err ? err : dns_init(config_main_view(p->config), why);
}

static void add_peer(struct process *p, enum ipc_role role, uint32_t id, struct channel *ch)
{
	if (role == ROLE_QMGR)
		agent_serve(p, ch);
	else if (role == ROLE_LOOKUP)
		lookup_peer_add(ch);
	else
		channel_free(ch);
}

int main(int argc, char **argv)
{
	static const struct role smtp = {.id = ROLE_SMTP,
	                                 .tls = &process_tls,
	                                 .prepare = prepare,
	                                 .peer = add_peer,
	                                 .drain = agent_drain,
	                                 .give_up = agent_give_up};

	return process_main(&smtp, argc, argv);
}
