/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each client does, counted together by all processes that serve clients: a table of
 * fixed size in memory that they share. Whoever is killed in the middle of a call leaves nothing
 * that stops the others: there are no locks. A client is known by a keyed hash of its name; each process
 * counts its own connections in a column of its own, which master clears when the process has gone. Beside the clients
 * it says which processes have as much to do as they can.
 */
#pragma once

#include <stdint.h>

#include "base/clock.h"
#include "base/str.h"

struct client_counts;
struct client_slot;

/* Processes that can share a table, and events that are told apart. */
enum { CLIENT_COLUMNS = 128, CLIENT_EVENTS_MAX = 6 };

/* A new table in a memory file that nobody can make shorter; the descriptor is the caller's. */
[[nodiscard]] int client_counts_create(int *ret_fd, struct client_counts **ret_counts);
/* The same table in another process, which counts in `column`. -EBADMSG: that is no such table. Leaves the descriptor alone. */
[[nodiscard]] int client_counts_open(int fd, uint32_t column, struct client_counts **ret_counts);
/* A table for this process alone. */
[[nodiscard]] int client_counts_private(struct client_counts **ret_counts);
void client_counts_close(struct client_counts *cc);
/* The process with that column has ended: its connections are over. */
void client_counts_clear(struct client_counts *cc, uint32_t column);

/*
 * The process of that rank (from 0, below CLIENT_COLUMNS) fills its processor. Holds for a tenth of a second: told again
 * as long as it is true, never taken back.
 */
void client_counts_tell_busy(struct client_counts *cc, uint32_t rank, struct instant now);
/* Are all processes of lower rank than this one so busy? Yes where there is none. */
bool client_counts_lower_are_busy(struct client_counts *cc, uint32_t rank, struct instant now);

/*
 * A connection from a client begins; *ret_count says how many it has now in all processes. NULL when there is no room to count
 * it. Clients without a connection lose their place to others, those first whose last time unit is over.
 */
struct client_slot *client_enter(struct client_counts *cc, struct str client, struct duration unit, uint32_t *ret_count);
void client_leave(struct client_counts *cc, struct client_slot *s);
/* One more event (below CLIENT_EVENTS_MAX) of a client that has entered; how many there were in the present time unit. */
uint32_t client_count(struct client_slot *s, unsigned event, struct duration unit);
