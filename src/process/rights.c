/* SPDX-License-Identifier: Apache-2.0 */
#include "process/rights.h"

static const struct rights table[ROLE_COUNT] = {
	[ROLE_SMTPD] =
		{
			.program = "smtpd",
			.is_per_core = true,
			.has_network = true,
			.has_listeners = true,
			.writes = WRITE_NOWHERE,
			.peers = ROLE_BIT(ROLE_QMGR) | ROLE_BIT(ROLE_LOOKUP) | ROLE_BIT(ROLE_LOCAL),
			.endpoints = {"pickup"},
		},
	[ROLE_QMGR] =
		{
			.program = "qmgr",
			.is_kept_on_reload = true,
			.drains_last = true,
			.writes = WRITE_SPOOL,
			.peers = ROLE_BIT(ROLE_SMTPD) | ROLE_BIT(ROLE_SMTP) | ROLE_BIT(ROLE_LOCAL),
			.endpoints = {"qmgr"},
		},
	[ROLE_SMTP] =
		{
			.program = "smtp",
			.is_per_core = true,
			.has_network = true,
			.writes = WRITE_NOWHERE,
			.peers = ROLE_BIT(ROLE_QMGR) | ROLE_BIT(ROLE_LOOKUP),
		},
	[ROLE_LOCAL] =
		{
			.program = "local",
			.keeps_root = true,
			.may_exec = true,
			.writes = WRITE_ANYWHERE,
			.peers = ROLE_BIT(ROLE_QMGR) | ROLE_BIT(ROLE_SMTPD),
		},
	[ROLE_LOOKUP] =
		{
			.program = "lookup",
			.has_network = true,
			.drains_last = true,
			.writes = WRITE_DATA,
			.peers = ROLE_BIT(ROLE_SMTPD) | ROLE_BIT(ROLE_SMTP),
		},
};

const struct rights *rights_of(enum ipc_role role)
{
	return role < ROLE_COUNT && table[role].program ? &table[role] : NULL;
}
