/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a name in main.cf or behind -o is: a parameter, a transport's own parameter, or
 * one that a person made up.
 */
#pragma once

#include "config/config.h"

enum name_kind {
	NAME_DECLARED, /* in the table */
	NAME_LEGACY,   /* an older name, no longer a parameter */
	NAME_SERVICE,  /* TRANSPORT_... of a service in master.cf */
	NAME_USER,     /* made up, and used: as $name, as a restriction class, or by a table (ldap:NAME) */
	NAME_UNKNOWN,  /* made up, and used nowhere */
};

enum name_kind config_name_kind(const struct config *c, struct str name);
/*
 * The families that a service running `program` has, one after the other: start with *at = 0.
 * NULL after the last.
 */
const struct param *config_next_family(struct str program, size_t *at);
