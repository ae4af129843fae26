/* SPDX-License-Identifier: Apache-2.0 */
/* What the defaults of a configuration ask of the machine: its name and its networks. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"

/* One address of an interface, in network order. */
struct machine_address {
	uint8_t bytes[16];
	uint8_t prefix; /* bits of the network mask */
	bool is_v6;
};

struct machine {
	struct str hostname; /* as the system gives it */
	struct machine_address *addresses;
	size_t address_count;
};

/* Asks the system. Never fails: what cannot be found out is empty. */
void machine_read(struct machine *m, struct arena *a);

/*
 * The default of mynetworks: the networks of all interfaces by `style` (class, subnet or host), for the
 * protocols wanted, as a list separated by blanks.
 */
struct str machine_networks(const struct machine *m, struct str style, bool has_v4, bool has_v6, struct arena *a);
