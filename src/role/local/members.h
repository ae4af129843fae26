/* SPDX-License-Identifier: Apache-2.0 */
/* The members of an alias, a list or a .forward file, one after the other. */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"

enum member_kind { MEMBER_ADDRESSES, MEMBER_FILE, MEMBER_COMMAND, MEMBER_INCLUDE };

struct member {
	enum member_kind kind;
	struct str text; /* one or more addresses as written, a path, or a command */
};

/* Takes the next member off the front of *rest; comments and empty ones are skipped. */
bool member_next(struct str *rest, struct arena *a, struct member *ret_member);
