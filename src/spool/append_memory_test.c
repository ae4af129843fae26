/* SPDX-License-Identifier: Apache-2.0 */
/* Shares of the memory for bodies: who waits, who is asked to move, who gets what becomes free. */
#include <errno.h>

#include "check.h"
#include "spool/append.h"

enum { KB = 1 << 10, MB = 1 << 20, BOUND = 8 * MB };

struct holder {
	struct append_share share;
	unsigned asked;
	bool must_go;
	bool cannot_move;
};

static bool move(struct append_share *s, bool must)
{
	struct holder *h = CONTAINER_OF(s, struct holder, share);

	h->asked++;
	h->must_go = must;
	/* As a file would take its time. */
	(void)!fiber_sleep(duration_ms(1));
	if (h->cannot_move && !must)
		return false;
	append_share_shrink(s, 0);
	return true;
}

static void want_segment(void *arg)
{
}

static void queued(void *arg, uint32_t segment, uint32_t epoch, uint64_t end, int is_sealed)
{
}

static struct appender *appender;

static void run(fiber_fn *fn)
{
	static const struct append_owner owner = {.want_segment = want_segment, .queued = queued};

	loop_init();
	appender = appender_new(&owner);
	appender_set_memory(appender, BOUND);
	fiber_start("test", fn, NULL);
	loop_run();
	loop_done();
}

#define MEMORY_TEST(name) \
	static void name##_body(void); \
	static void name##_fiber(void *arg) \
	{ \
		name##_body(); \
		appender_free(appender); \
	} \
	TEST(name) \
	{ \
		run(name##_fiber); \
	} \
	static void name##_body(void)

static int hold(struct holder *h, size_t size)
{
	append_share_init(&h->share, appender, move);
	return append_share_grow(&h->share, size, clock_now());
}

static void wait_ms(int ms)
{
	(void)!fiber_sleep(duration_ms(ms));
}

MEMORY_TEST(nobody_is_asked_while_less_than_half_is_used)
{
	struct holder h = {0};

	CHECK_INT(hold(&h, BOUND / 2), 0);
	wait_ms(20);
	CHECK_INT(h.asked, 0);
	append_share_done(&h.share);
}

MEMORY_TEST(past_half_the_largest_moves_and_small_ones_stay)
{
	struct holder large = {0}, larger = {0}, small = {0};

	CHECK_INT(hold(&small, 128 * KB), 0);
	CHECK_INT(hold(&large, 2 * MB), 0);
	CHECK_INT(hold(&larger, 3 * MB), 0);
	wait_ms(20);
	CHECK_INT(larger.asked, 1);
	CHECK_INT(large.asked, 0);
	CHECK_INT(small.asked, 0);
	append_share_done(&small.share);
	append_share_done(&large.share);
	append_share_done(&larger.share);
}

MEMORY_TEST(a_busy_share_is_left_alone_and_waits_for_a_move_under_way)
{
	struct holder h = {0};

	CHECK_INT(hold(&h, 5 * MB), 0);
	append_share_begin(&h.share);
	wait_ms(20);
	CHECK_INT(h.asked, 0);
	append_share_end(&h.share);
	while (!h.asked)
		wait_ms(20);
	append_share_begin(&h.share);
	CHECK_INT(h.share.size, 0);
	append_share_done(&h.share);
}

MEMORY_TEST(who_waits_is_served_by_small_shares_that_are_not_young)
{
	struct holder small[64] = {0}, late = {0};

	for (int i = 0; i < 64; i++)
		CHECK_INT(hold(&small[i], 128 * KB), 0);
	append_share_init(&late.share, appender, move);
	CHECK_INT(append_share_grow(&late.share, 4 * KB, clock_now()), -ETIMEDOUT);
	CHECK_INT(append_share_grow(&late.share, 4 * KB, clock_deadline(duration_s(30))), 0);
	CHECK_INT(late.share.size, 4 * KB);
	append_share_done(&late.share);
	for (int i = 0; i < 64; i++)
		append_share_done(&small[i].share);
}

struct waiter {
	struct holder holder;
	size_t size;
	int err;
	unsigned place; /* in the order of being served */
};
static unsigned served;

static void wait_in_line(void *arg)
{
	struct waiter *w = arg;

	append_share_init(&w->holder.share, appender, move);
	append_share_begin(&w->holder.share);
	w->err = append_share_grow(&w->holder.share, w->size, clock_deadline(duration_s(30)));
	w->place = ++served;
	append_share_done(&w->holder.share);
}

MEMORY_TEST(who_came_first_is_served_first)
{
	struct holder all = {0};
	struct waiter big = {.size = 6 * MB}, little = {.size = KB};

	served = 0;
	CHECK_INT(hold(&all, BOUND), 0);
	append_share_begin(&all.share);
	fiber_start("big", wait_in_line, &big);
	fiber_start("little", wait_in_line, &little);
	wait_ms(10);
	append_share_shrink(&all.share, 4 * MB);
	wait_ms(10);
	CHECK_INT(served, 0);
	append_share_shrink(&all.share, 0);
	while (served < 2)
		wait_ms(10);
	CHECK_INT(big.err, 0);
	CHECK_INT(big.place, 1);
	CHECK_INT(little.place, 2);
	append_share_done(&all.share);
}

MEMORY_TEST(a_cancelled_waiter_leaves_the_line)
{
	struct holder all = {0};
	struct waiter w = {.size = MB};
	struct fiber *f;

	served = 0;
	CHECK_INT(hold(&all, BOUND), 0);
	append_share_begin(&all.share);
	f = fiber_start("waiter", wait_in_line, &w);
	fiber_make_joinable(f);
	wait_ms(10);
	fiber_cancel(f);
	fiber_join(f);
	CHECK_INT(w.err, -ECANCELED);
	append_share_shrink(&all.share, 0);
	CHECK_INT(append_share_grow(&all.share, BOUND, clock_now()), 0);
	append_share_done(&all.share);
}

MEMORY_TEST(more_than_the_bound_is_refused_at_once)
{
	struct holder h = {0};

	CHECK_INT(hold(&h, BOUND + 1), -EMSGSIZE);
	append_share_done(&h.share);
}

MEMORY_TEST(who_cannot_move_while_others_wait_has_to_go)
{
	struct holder headers = {.cannot_move = true}, late = {0};

	CHECK_INT(hold(&headers, BOUND), 0);
	append_share_init(&late.share, appender, move);
	CHECK_INT(append_share_grow(&late.share, KB, clock_deadline(duration_s(60))), 0);
	CHECK(headers.must_go);
	CHECK(headers.asked > 1);
	append_share_done(&headers.share);
	append_share_done(&late.share);
}
