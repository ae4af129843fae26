/* SPDX-License-Identifier: Apache-2.0 */
/* The way of messages through the queue manager. */
#include <errno.h>

#include "check.h"
#include "role/qmgr/qmgr_stage.h"

static void play_delivery(void)
{
	stage_add_deliverer(1, false);
	stage_send_mail("a@example.org", "ok@b.example");
	WAIT_FOR(stage_has(&stage->delivered, "a@example.org>ok@b.example "));
	WAIT_FOR(map_count(&stage->q.works) == 0);
	CHECK(stage_has_logged(": from=<a@example.org>, size=43, nrcpt=1 (queue active)\n"));
	CHECK(stage_has_logged(": removed\n"));
	CHECK_INT(stage_count_indexed(), 0);
	CHECK_INT(schedule_destination_count(stage->q.schedule), 0);
}

TEST(a_message_is_delivered_and_forgotten)
{
	stage_play(MAIN, play_delivery);
}

static void play_late_deliverer(void)
{
	stage_send_mail("a@example.org", "ok@b.example");
	WAIT_FOR(!list_is_empty(&stage->q.stranded));
	stage_add_deliverer(1, false);
	WAIT_FOR(stage_has(&stage->delivered, "a@example.org>ok@b.example "));
	WAIT_FOR(map_count(&stage->q.works) == 0);
}

TEST(mail_waits_for_a_deliverer)
{
	stage_play(MAIN, play_late_deliverer);
}

static void play_groups(void)
{
	struct recipient r[5] = {{.address = STR("ok1@b.example")},
	                         {.address = STR("ok2@c.example")},
	                         {.address = STR("ok3@b.example")},
	                         {.address = STR("ok4@b.example")},
	                         {.address = STR("never@b.example")}};

	stage_add_deliverer(1, false);
	stage_append("a@example.org", r, 5, 0, STR("Subject: x\r\n\r\n"));
	WAIT_FOR(map_count(&stage->q.works) == 0 && stage->jobs);
	/* b.example: four recipients by two; c.example: one. */
	CHECK_INT(stage->jobs, 3);
	CHECK(stage_has(&stage->delivered, "ok1@b.example ") && stage_has(&stage->delivered, "ok2@c.example "));
	CHECK_STR(buf_str(&stage->envelopes), STR("<>a@example.org "));
}

TEST(recipients_of_one_nexthop_go_together_up_to_the_limit)
{
	stage_play(MAIN "default_destination_recipient_limit = 2\n", play_groups);
}

static void play_deferral(void)
{
	stage_add_deliverer(1, false);
	stage_send_mail("a@example.org", "later@b.example");
	WAIT_FOR(stage_count_indexed() == 1 && map_count(&stage->q.works) == 0);
	CHECK(spool_next_due(stage->q.spool).us >= clock_wall().us + 290 * 1000000LL);
	CHECK_INT(stage->jobs, 1);
	spool_flush(stage->q.spool);
	due_wake(&stage->q);
	WAIT_FOR(stage->jobs == 2 && map_count(&stage->q.works) == 0);
	CHECK_INT(stage_count_indexed(), 1);
	CHECK(!stage_has_logged("removed"));
}

TEST(what_is_deferred_waits_in_the_index_and_is_tried_again_when_flushed)
{
	stage_play(MAIN, play_deferral);
}

static void play_dead_site(void)
{
	for (int i = 0; i < 12; i++)
		stage_send_mail("a@example.org", "down@b.example");
	WAIT_FOR(map_count(&stage->q.works) == 12);
	stage_add_deliverer(1, false);
	WAIT_FOR(stage_count_indexed() == 12 && map_count(&stage->q.works) == 0);
	CHECK(stage->jobs < 12);
	CHECK(stage_has_logged("relay=none"));
	CHECK(stage_has_logged("dsn=4.4.1, status=deferred (delivery temporarily suspended: connect to far: refused)\n"));
	CHECK_INT(schedule_window(stage->q.schedule, STR("smtp"), STR("b.example")), 0);
	stage_send_mail("a@example.org", "ok@c.example");
	WAIT_FOR(stage_has(&stage->delivered, "ok@c.example"));
	WAIT_FOR(map_count(&stage->q.works) == 0);
}

TEST(a_dead_site_holds_up_its_own_mail_only)
{
	stage_play(MAIN, play_dead_site);
}

static void play_death(void)
{
	stage_add_deliverer(1, false);
	stage_send_mail("a@example.org", "die@b.example");
	WAIT_FOR(stage->jobs == 1 && list_first(&stage->q.peers) && !list_is_empty(&stage->q.stranded));
	stage_add_deliverer(2, true);
	WAIT_FOR(stage_has(&stage->delivered, "die@b.example"));
	WAIT_FOR(map_count(&stage->q.works) == 0);
}

TEST(the_jobs_of_a_deliverer_that_dies_go_to_another)
{
	stage_play(MAIN, play_death);
}

/* A deliverer that takes jobs and says nothing, until its channel is freed. */
static struct channel *add_silent_deliverer(uint32_t id)
{
	int fds[2];

	CHECK_INT(channel_socketpair(fds), 0);
	peer_add(&stage->q, ROLE_SMTP, id, channel_new(fds[0]));
	return channel_new(fds[1]);
}

static size_t busy_peers(void)
{
	size_t count = 0;

	LIST_EACH(&stage->q.peers, it)
		count += LIST_ENTRY(it, struct peer, link)->busy > 0;
	return count;
}

static void play_deleted(void)
{
	struct channel *silent = add_silent_deliverer(1);

	stage_send_mail("a@example.org", "ok@b.example");
	WAIT_FOR(busy_peers() == 1);
	stage_find_work()->is_deleted = true;
	stage_add_deliverer(2, true);
	channel_free(silent);
	WAIT_FOR(map_count(&stage->q.works) == 0);
	CHECK_INT(stage->jobs, 0);
	CHECK_INT(stage_count_indexed(), 0);
}

TEST(a_deleted_message_does_not_go_to_another_deliverer)
{
	stage_play(MAIN, play_deleted);
}

static void play_deadly(void)
{
	for (uint32_t i = 1; i <= 4; i++)
		stage_add_deliverer(i, false);
	stage_send_mail("a@example.org", "die@b.example");
	WAIT_FOR(stage_count_indexed() == 1);
	CHECK_INT(stage->jobs, 3);
	CHECK(stage_has_logged("status=deferred (the delivery process died)"));
}

TEST(a_message_that_kills_deliverers_is_put_aside)
{
	stage_play(MAIN, play_deadly);
}

static void visit_spool(void *arg)
{
	struct spool_visit v;
	int *seen = arg;

	CHECK(qmgr_enter_spool(&stage->q, &v));
	CHECK_INT(fiber_sleep(duration_s(600)), -ECANCELED);
	CHECK(stage->q.spool != NULL);
	CHECK(!qmgr_enter_spool(&stage->q, &v));
	qmgr_leave_spool(&stage->q, &v);
	++*seen;
}

static int visits_seen;

static void play_visit(void)
{
	fiber_start("visitor", visit_spool, &visits_seen);
	CHECK_INT(fiber_yield(), 0);
}

TEST(the_spool_is_not_closed_while_a_fiber_is_inside)
{
	visits_seen = 0;
	stage_play(MAIN, play_visit);
	CHECK_INT(visits_seen, 1);
}

static void play_hold(void)
{
	struct recipient r = {.address = STR("ok@b.example")};
	struct spool_counts counts;
	uint64_t count;

	stage_add_deliverer(1, false);
	stage_append("a@example.org", &r, 1, ENVELOPE_HOLD, STR("Subject: x\r\n\r\n"));
	WAIT_FOR(stage_count_indexed() == 1 && map_count(&stage->q.works) == 0);
	spool_flush(stage->q.spool);
	due_wake(&stage->q);
	CHECK_INT(fiber_sleep(duration_ms(50)), 0);
	spool_count(stage->q.spool, &counts);
	CHECK_INT(counts.held, 1);
	CHECK_INT(stage->jobs, 0);
	CHECK_INT(spool_change(stage->q.spool, STR(""), SPOOL_RELEASE, &count), 0);
	due_wake(&stage->q);
	WAIT_FOR(stage_has(&stage->delivered, "ok@b.example"));
	WAIT_FOR(map_count(&stage->q.works) == 0);
}

TEST(held_mail_waits_until_it_is_released)
{
	stage_play(MAIN, play_hold);
}

static void play_defer_transports(void)
{
	stage_add_deliverer(1, false);
	stage_send_mail("a@example.org", "ok@b.example");
	WAIT_FOR(stage_count_indexed() == 1 && map_count(&stage->q.works) == 0);
	CHECK_INT(stage->jobs, 0);
	CHECK(stage_has_logged("relay=none"));
	CHECK(stage_has_logged("dsn=4.3.2, status=deferred (deferred transport)\n"));
	spool_flush(stage->q.spool);
	due_wake(&stage->q);
	WAIT_FOR(stage_has(&stage->delivered, "ok@b.example"));
	WAIT_FOR(map_count(&stage->q.works) == 0);
}

TEST(deferred_transports_are_used_by_a_flush_only)
{
	stage_play(MAIN "defer_transports = smtp\n", play_defer_transports);
}

static void play_reload(void)
{
	struct buf why = BUF_INIT(1000);

	stage_add_deliverer(1, false);
	stage_send_mail("a@example.org", "ok@b.example");
	WAIT_FOR(stage_count_indexed() == 1 && map_count(&stage->q.works) == 0);
	CHECK_INT(qmgr_reconfigure(&stage->q, stage_load(MAIN), &why), 0);
	stage_send_mail("a@example.org", "ok2@b.example");
	WAIT_FOR(stage_has(&stage->delivered, "ok2@b.example"));
	WAIT_FOR(map_count(&stage->q.works) == 0);
	buf_done(&why);
}

TEST(a_new_configuration_takes_hold_at_once)
{
	stage_play(MAIN "defer_transports = smtp\n", play_reload);
}

static void play_soft_bounce(void)
{
	stage_add_deliverer(1, false);
	stage_send_mail("a@example.org", "never@b.example");
	WAIT_FOR(stage_count_indexed() == 1 && map_count(&stage->q.works) == 0);
	CHECK_STR(buf_str(&stage->envelopes), STR(""));
}

TEST(soft_bounce_keeps_what_would_come_back)
{
	stage_play(MAIN "soft_bounce = yes\n", play_soft_bounce);
}

static void play_filter(void)
{
	struct recipient r = {.address = STR("ok@b.example")};
	struct envelope e = {.arrival = clock_wall(),
	                     .sender = STR("a@example.org"),
	                     .recipients = &r,
	                     .recipient_count = 1,
	                     .filter = STR("nosuch:[127.0.0.1]:10025")};

	stage_add_deliverer(1, false);
	queue_id_make(&stage->ids, e.arrival, e.queue_id);
	CHECK_INT(appender_append(stage->ap, &e, STR("Subject: x\r\n\r\n")), 0);
	WAIT_FOR(stage_count_indexed() == 1 && map_count(&stage->q.works) == 0);
	CHECK(stage_has_logged("transport nosuch is no service of master.cf"));
	CHECK(stage_has_logged("status=deferred (mail transport unavailable)"));
}

TEST(a_filter_goes_before_the_route)
{
	stage_play(MAIN, play_filter);
}

static void play_many(void)
{
	stage_add_deliverer(1, false);
	stage_add_deliverer(2, false);
	for (int i = 0; i < 500; i++)
		stage_send_mail("a@example.org", i % 3 ? "ok@b.example" : "ok@c.example");
	WAIT_FOR(stage->jobs == 500 && map_count(&stage->q.works) == 0);
	CHECK_INT(stage->q.recipient_count, 0);
	CHECK_INT(schedule_busy_count(stage->q.schedule), 0);
}

TEST(many_messages_pass_a_small_active_queue)
{
	stage_play(MAIN "qmgr_message_active_limit = 10\n", play_many);
}

static void play_retry(void)
{
	stage_add_deliverer(1, false);
	stage_send_mail("a@example.org", "later@b.example");
	WAIT_FOR(stage->jobs >= 3);
}

TEST(what_is_deferred_is_tried_again_when_its_time_comes)
{
	stage_play(MAIN "minimal_backoff_time = 1s\nmaximal_backoff_time = 1s\n", play_retry);
}

static void play_reload_waiting(void)
{
	struct buf why = BUF_INIT(1000);

	stage_send_mail("a@example.org", "ok@b.example");
	stage_send_mail("a@example.org", "ok@c.example");
	WAIT_FOR(!list_is_empty(&stage->q.stranded));
	CHECK_INT(qmgr_reconfigure(&stage->q, stage_load(MAIN "relayhost = [127.0.0.1]\n"), &why), 0);
	stage_add_deliverer(1, false);
	WAIT_FOR(stage_has(&stage->delivered, "ok@b.example ") && stage_has(&stage->delivered, "ok@c.example "));
	WAIT_FOR(map_count(&stage->q.works) == 0);
	buf_done(&why);
}

TEST(waiting_jobs_outlive_the_configuration_that_made_them)
{
	stage_play(MAIN "relayhost = [127.0.0.2]\ndefault_transport = smtp\n", play_reload_waiting);
}
