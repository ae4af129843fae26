/* SPDX-License-Identifier: Apache-2.0 */
#include "role/qmgr/backoff.h"

struct wall_time backoff_next(const struct backoff *b, struct wall_time arrival, struct wall_time now)
{
	int64_t wait = now.us - arrival.us;

	if (wait > b->maximal.ns / 1000)
		wait = b->maximal.ns / 1000;
	if (wait < b->minimal.ns / 1000)
		wait = b->minimal.ns / 1000;
	return (struct wall_time){now.us + wait};
}

bool backoff_is_over(const struct backoff *b, struct wall_time arrival, bool is_null_sender, struct wall_time now)
{
	struct duration lifetime = is_null_sender ? b->bounce_lifetime : b->lifetime;

	return now.us - arrival.us >= lifetime.ns / 1000;
}
