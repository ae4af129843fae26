/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/visitors.h"

#include <unistd.h>

#include "check.h"

static struct visitors visitors;

struct guest {
	struct visitor visitor;
	uid_t uid;
	bool is_in, is_sent_away, is_leaving;
	struct wait_list goes;
};

static void stay(void *arg)
{
	struct guest *g = arg;

	g->is_in = visitors_enter(&visitors, &g->visitor, g->uid);
	while (g->is_in && !g->is_leaving && !g->is_sent_away)
		g->is_sent_away = wait_list_wait(&g->goes, INSTANT_NEVER) != 0;
	visitors_leave(&g->visitor);
}

static bool come(struct guest *g, uid_t uid)
{
	g->uid = uid;
	wait_list_init(&g->goes);
	fiber_start("guest", stay, g);
	(void)!fiber_yield();
	return g->is_in;
}

static void leave(struct guest *g)
{
	g->is_leaving = true;
	wait_list_wake_all(&g->goes);
	(void)!fiber_yield();
}

/* As if he had said nothing for so long. */
static void be_quiet(struct guest *g, int seconds)
{
	g->visitor.quiet_since.ns -= seconds * NS_PER_S;
}

#define VISITORS_TEST(name) \
	static void name##_fiber(void *arg); \
	TEST(name) \
	{ \
		loop_init(); \
		visitors_init(&visitors, 6, 3, 2); \
		fiber_start("test", name##_fiber, NULL); \
		loop_run(); \
		loop_done(); \
	} \
	static void name##_fiber(void *arg)

enum { ANN = 70001, BOB = 70002 };

VISITORS_TEST(one_user_has_his_share_and_root_has_room)
{
	struct guest ann[4] = {0}, bob[2] = {0}, root[3] = {0};

	for (int i = 0; i < 3; i++)
		CHECK(come(&ann[i], ANN));
	CHECK(!come(&ann[3], ANN));
	CHECK(come(&bob[0], BOB));
	/* The rest is not for strangers. */
	CHECK(!come(&bob[1], BOB));
	CHECK(come(&root[0], 0));
	CHECK(come(&root[1], geteuid()));
	CHECK(!come(&root[2], 0));
	leave(&ann[0]);
	CHECK(come(&bob[1], BOB));
	for (int i = 1; i < 3; i++)
		leave(&ann[i]);
	for (int i = 0; i < 2; i++) {
		leave(&bob[i]);
		leave(&root[i]);
	}
}

VISITORS_TEST(the_quietest_makes_room)
{
	struct guest ann[5] = {0};

	for (int i = 0; i < 3; i++)
		CHECK(come(&ann[i], ANN));
	be_quiet(&ann[0], 3);
	CHECK(!come(&ann[3], ANN));
	be_quiet(&ann[0], 3);
	be_quiet(&ann[1], 60);
	CHECK(come(&ann[3], ANN));
	(void)!fiber_yield();
	CHECK(ann[1].is_sent_away);
	CHECK(!ann[0].is_sent_away);
	visitor_set_quiet(&ann[0].visitor, false);
	CHECK(!come(&ann[4], ANN));
	leave(&ann[0]);
	leave(&ann[2]);
	leave(&ann[3]);
}

VISITORS_TEST(a_user_cannot_send_away_those_of_another_by_his_own_number)
{
	struct guest ann[4] = {0}, bob = {0};

	CHECK(come(&bob, BOB));
	be_quiet(&bob, 60);
	for (int i = 0; i < 3; i++)
		CHECK(come(&ann[i], ANN));
	CHECK(!come(&ann[3], ANN));
	CHECK(!bob.is_sent_away);
	leave(&bob);
	for (int i = 0; i < 3; i++)
		leave(&ann[i]);
}
