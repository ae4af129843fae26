/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logins that servers refused for good, so that the same password is not tried on the same server
 * again and again until the account is locked. Kept in memory; a changed password is another login.
 */
#pragma once

#include "base/clock.h"
#include "base/str.h"

struct auth_attempt {
	struct str host;
	struct str user;
	struct str secret;
};

/* What the server said then; empty when it did not refuse, or too long ago. Valid until the next call. */
struct str auth_cache_find(const struct auth_attempt *attempt);
/* `reply` is its text on one line. */
void auth_cache_add(const struct auth_attempt *attempt, struct str reply, struct duration hold);
void auth_cache_forget(void);
