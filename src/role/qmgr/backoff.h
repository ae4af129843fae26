/* SPDX-License-Identifier: Apache-2.0 */
/* When a message is tried again and when it is given up. */
#pragma once

#include <stdbool.h>

#include "base/clock.h"

struct backoff {
	struct duration minimal;         /* $minimal_backoff_time */
	struct duration maximal;         /* $maximal_backoff_time */
	struct duration lifetime;        /* $maximal_queue_lifetime */
	struct duration bounce_lifetime; /* $bounce_queue_lifetime, for mail from the null sender */
};

/* The wait is the age of the message, within the two limits: no counter of attempts is kept. */
struct wall_time backoff_next(const struct backoff *b, struct wall_time arrival, struct wall_time now);
/* Is it too old to be tried again? */
bool backoff_is_over(const struct backoff *b, struct wall_time arrival, bool is_null_sender, struct wall_time now);
