/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lookup role: the only process that holds password tables. smtpd asks it whether a
 * name and a password belong together; the hashing runs on helper threads. smtp asks it for
 * MTA-STS policies and access tokens.
 */
#include "role/lookup/lookup.h"

int main(int argc, char **argv)
{
	static const struct role role = {.id = ROLE_LOOKUP,
	                                 .prepare = lookup_prepare,
	                                 .start = lookup_start,
	                                 .peer = lookup_add_peer,
	                                 .drain = lookup_drain};

	return process_main(&role, argc, argv);
}
