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

/* An interface address that the system gives for a name in inet_interfaces. */
struct machine_name {
	struct str name;
	struct machine_address address;
};

struct machine {
	struct str hostname; /* as the system gives it */
	struct machine_address *addresses;
	size_t address_count;
	struct machine_name *names;
	size_t name_count;
};

/* Asks the system. Never fails: what cannot be found out is empty. */
void machine_read(struct machine *m, struct arena *a);

/* Asks the system for the addresses of a name, once; later machine_networks() knows them. May take seconds. */
void machine_resolve(struct machine *m, struct str name, struct arena *a);

/* What the default of mynetworks is made from. */
struct machine_wish {
	struct str style;      /* class, subnet or host */
	struct str interfaces; /* inet_interfaces: all, loopback-only, or names and addresses */
	bool has_v4;
	bool has_v6;
};

/* The default of mynetworks: networks of the machine's own addresses, separated by blanks. */
struct str machine_networks(const struct machine *m, const struct machine_wish *wish, struct arena *a);
