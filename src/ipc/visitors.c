/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/visitors.h"

#include <unistd.h>

enum { QUIET_S = 5 }; /* so long nobody is sent away */

void visitors_init(struct visitors *v, size_t max, size_t max_of_user, size_t reserved)
{
	*v = (struct visitors){.max = max, .max_of_user = max_of_user, .reserved = reserved};
	list_init(&v->all);
}

static bool is_trusted(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

/* Whose places are looked at: one user's, all ordinary users', everybody's. */
enum group { OF_USER, OF_STRANGERS, OF_ALL };

static bool is_in(const struct visitor *who, enum group group, uid_t uid)
{
	return group == OF_ALL || (group == OF_USER ? who->uid == uid : !is_trusted(who->uid));
}

/* True when the group has a place to spare, after the one who was quiet for the longest time has lost his if need be. */
static bool make_room(struct visitors *v, enum group group, uid_t uid, size_t max)
{
	struct visitor *quietest = NULL;
	size_t count = 0;

	LIST_EACH(&v->all, it) {
		struct visitor *who = LIST_ENTRY(it, struct visitor, link);

		if (!is_in(who, group, uid))
			continue;
		count++;
		if (!quietest || who->quiet_since.ns < quietest->quiet_since.ns)
			quietest = who;
	}
	if (count < max)
		return true;
	if (!quietest || !instant_is_before(instant_after(quietest->quiet_since, duration_s(QUIET_S)), clock_now()))
		return false;
	list_remove(&quietest->link);
	fiber_cancel(quietest->fiber);
	return true;
}

bool visitors_enter(struct visitors *v, struct visitor *who, uid_t uid)
{
	*who = (struct visitor){.uid = uid, .fiber = fiber_self(), .quiet_since = clock_now()};
	list_init(&who->link);
	if (!is_trusted(uid) &&
	    (!make_room(v, OF_USER, uid, v->max_of_user) || !make_room(v, OF_STRANGERS, uid, v->max - v->reserved)))
		return false;
	if (!make_room(v, OF_ALL, uid, v->max))
		return false;
	list_add(&v->all, &who->link);
	return true;
}

void visitors_leave(struct visitor *who)
{
	list_remove(&who->link);
}

void visitor_set_quiet(struct visitor *who, bool is_quiet)
{
	who->quiet_since = is_quiet ? clock_now() : INSTANT_NEVER;
}
