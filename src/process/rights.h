/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each role may do and whom it meets, as data: master starts and wires the roles
 * by this table, and the common beginning of every role builds its sandbox from it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/message.h"

/* Where a role may create, change or remove files. */
enum may_write {
	WRITE_NOWHERE, /* it gets descriptors from others */
	WRITE_SPOOL,   /* our spool below queue_directory */
	WRITE_DATA,    /* data_directory */
	WRITE_ANYWHERE /* as far as its user may */
};

struct rights {
	const char *program;    /* its executable in libexec/postrider, and the last part of its log tag */
	bool is_per_core;       /* one process a core; otherwise one */
	bool keeps_root;        /* stays root when master is root: it becomes other users in its children */
	bool has_network;       /* may open other sockets than those of this machine */
	bool has_listeners;     /* gets the sockets of the inet services */
	bool may_exec;          /* starts other programs */
	bool is_kept_on_reload; /* takes a new configuration in place; the others are replaced */
	bool drains_last;       /* the others need it to finish their work */
	enum may_write writes;
	uint32_t peers;           /* bits of enum ipc_role */
	const char *endpoints[3]; /* names of local sockets under $queue_directory/public; NULL behind the last one */
};

#define ROLE_BIT(role) (1u << (role))

/* NULL for master, which has every right, and for what is no role. */
const struct rights *rights_of(enum ipc_role role);
