/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each client does, counted: connections at once, and connections, messages,
 * recipients, AUTH commands and TLS handshakes an anvil_rate_time_unit. Clients are
 * told apart by the leading bits of their address. All processes count together (ipc/client_counts.h).
 */
#pragma once

#include <stdbool.h>

struct session;

enum client_event {
	CLIENT_CONNECTS,
	CLIENT_SENDS_MAIL,
	CLIENT_NAMES_RECIPIENT,
	CLIENT_AUTHENTICATES,
	CLIENT_STARTS_TLS,
	CLIENT_EVENT_COUNT
};

/* A session begins: true when the client has as many connections as it may, which is logged. */
bool clients_enter(struct session *s);
void clients_leave(struct session *s);
/* Counts one event; true when there were too many lately, which is logged. */
bool clients_exceed(struct session *s, enum client_event event);
