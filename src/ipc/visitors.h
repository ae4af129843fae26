/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is connected to a local socket: bounded in all and for each user, with room kept for root and for
 * the user that the process runs as. When there is no room, one who has been quiet for a while is sent away.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/list.h"
#include "fiber/fiber.h"

struct visitors {
	size_t max;         /* in all */
	size_t max_of_user; /* of one ordinary user */
	size_t reserved;    /* of `max`, which ordinary users cannot have */
	struct list all;
};

/* One connection; lies in the memory of the fiber that serves it. */
struct visitor {
	struct list link;
	uid_t uid;
	struct fiber *fiber;
	struct instant quiet_since; /* INSTANT_NEVER while something is done for him */
};

void visitors_init(struct visitors *v, size_t max, size_t max_of_user, size_t reserved);
/* The calling fiber serves `who` from here on. False when there is no room. Who must make room is cancelled. */
bool visitors_enter(struct visitors *v, struct visitor *who, uid_t uid);
void visitors_leave(struct visitor *who);
/* Is he waited for, or served? */
void visitor_set_quiet(struct visitor *who, bool is_quiet);
