/* SPDX-License-Identifier: Apache-2.0 */
/* What senders and postmasters hear of. */
#include "check.h"
#include "role/qmgr/qmgr_stage.h"

static void play_bounce(void)
{
	struct recipient r[3] = {
		{.address = STR("ok@b.example")}, {.address = STR("never@b.example")}, {.address = STR("later@b.example")}};

	stage_add_deliverer(1, false);
	stage_append("a@example.org", r, 3, 0, STR("Subject: hello\r\n\r\nbody\r\n"));
	WAIT_FOR(stage_count_indexed() == 1 && map_count(&stage->q.works) == 0);
	CHECK_STR(buf_str(&stage->envelopes), STR("<>a@example.org "));
	CHECK(stage_has(&stage->reports, "Final-Recipient: rfc822; never@b.example\r\n"));
	CHECK(stage_has(&stage->reports,
	                "Action: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; far\r\nDiagnostic-Code: smtp; 550 no\r\n"));
	CHECK(stage_has(&stage->reports, "Subject: hello\r\n\r\nbody\r\n"));
	CHECK(!stage_has(&stage->reports, "later@b.example"));
	CHECK(stage_has_logged("postfix/bounce"));
	CHECK(stage_has_logged(": sender non-delivery notification: 4REPORT\n"));
	spool_flush(stage->q.spool);
	due_wake(&stage->q);
	WAIT_FOR(stage->jobs == 2 && map_count(&stage->q.works) == 0);
	/* Only what was left is tried; nobody gets a second report or copy. */
	CHECK_STR(buf_str(&stage->envelopes), STR("<>a@example.org "));
	CHECK_STR(buf_str(&stage->delivered), STR("a@example.org>ok@b.example "));
}

TEST(failures_of_a_round_come_back_in_one_report)
{
	stage_play(MAIN, play_bounce);
}

static void play_long_reports(void)
{
	struct recipient r[40];
	char line[900];
	struct buf content = BUF_INIT(5000);

	stage_add_deliverer(1, false);
	memset(line, 'b', sizeof line);
	buf_addf(&content, "Subject: hello\r\n\r\n");
	for (int i = 0; i < 4; i++)
		buf_addf(&content, "%.*s\r\n", (int)sizeof line, line);
	stage->q.settings->report_size_max = 3500;
	stage_append("a@example.org", &(struct recipient){.address = STR("never@b.example")}, 1, 0, buf_str(&content));
	WAIT_FOR(stage->jobs == 1 && map_count(&stage->q.works) == 0);
	CHECK(stage_has(&stage->reports, "Content-Description: Undelivered Message Headers\r\n"));
	CHECK(stage_has(&stage->reports, "Subject: hello\r\n"));
	CHECK(stage_has(&stage->reports, "550 no"));
	CHECK(!stage_has(&stage->reports, "bbbb"));
	buf_reset(&stage->reports);
	for (size_t i = 0; i < COUNT_OF(r); i++)
		r[i] = (struct recipient){.address = STR("neverlong@b.example")};
	stage->q.settings->report_size_max = 20000;
	stage_append("a@example.org", r, COUNT_OF(r), 0, buf_str(&content));
	WAIT_FOR(stage->jobs == 2 && map_count(&stage->q.works) == 0);
	CHECK(stage_has(&stage->reports, "Final-Recipient: rfc822; neverlong@b.example\r\n"));
	CHECK_STR(buf_str(&stage->envelopes), STR("<>a@example.org <>a@example.org "));
	buf_done(&content);
}

TEST(a_report_that_would_be_too_long_is_shortened)
{
	stage_play(MAIN, play_long_reports);
}

static void play_requeue(void)
{
	struct recipient r[2] = {{.address = STR("never@b.example")}, {.address = STR("later@b.example")}};

	stage->is_answer_late = true;
	stage_add_deliverer(1, false);
	stage_append("a@example.org", r, 2, 0, STR("Subject: hello\r\n\r\nbody\r\n"));
	WAIT_FOR(stage_has(&stage->envelopes, "<>a@example.org "));
	stage_find_work()->is_requeued = true;
	stage->is_answer_late = false;
	WAIT_FOR(map_count(&stage->q.works) == 0);
	CHECK_STR(buf_str(&stage->envelopes), STR("<>a@example.org <a@example.org>later@b.example "));
	CHECK_INT(stage_count_indexed(), 0);
}

TEST(a_message_is_requeued_though_its_report_is_on_the_way)
{
	stage_play(MAIN, play_requeue);
}

static void play_withdrawn(void)
{
	struct recipient r[2] = {{.address = STR("never@b.example")}, {.address = STR("ok@c.example")}};

	stage_append("a@example.org", r, 2, 0, STR("Subject: hello\r\n\r\nbody\r\n"));
	WAIT_FOR(map_count(&stage->q.works) == 1);
	stage_find_work()->is_requeued = true;
	stage_add_deliverer(1, false);
	WAIT_FOR(map_count(&stage->q.works) == 0);
	CHECK_STR(buf_str(&stage->envelopes), STR("<>a@example.org "));
}

TEST(who_requeues_a_message_hears_of_what_failed_before)
{
	stage_play(MAIN, play_withdrawn);
}

static void play_null_sender(void)
{
	stage_add_deliverer(1, false);
	stage_send_mail("", "never@b.example");
	WAIT_FOR(stage->jobs == 1 && map_count(&stage->q.works) == 0);
	CHECK_STR(buf_str(&stage->envelopes), STR(""));
	CHECK(stage_has_logged(": removed\n"));
}

TEST(a_bounce_that_bounces_is_dropped)
{
	stage_play(MAIN, play_null_sender);
}

static void play_double_bounce(void)
{
	stage_add_deliverer(1, false);
	stage_send_mail("", "never@b.example");
	WAIT_FOR(stage->jobs == 1 && map_count(&stage->q.works) == 0);
	CHECK_STR(buf_str(&stage->envelopes), STR("<double-bounce@mx.example.com>postmaster@example.com "));
	stage_send_mail("double-bounce@mx.example.com", "never@b.example");
	WAIT_FOR(stage->jobs == 2 && map_count(&stage->q.works) == 0);
	CHECK_STR(buf_str(&stage->envelopes), STR("<double-bounce@mx.example.com>postmaster@example.com "));
}

TEST(a_bounce_that_bounces_goes_to_the_postmaster_when_asked_for)
{
	stage_play(MAIN "myorigin = example.com\nnotify_classes = 2bounce\n", play_double_bounce);
}

static void play_expiry(void)
{
	stage_add_deliverer(1, false);
	stage_send_mail("a@example.org", "later@b.example");
	WAIT_FOR(stage->jobs == 1 && map_count(&stage->q.works) == 0);
	CHECK(stage_has_logged(": from=<a@example.org>, status=expired, returned to sender\n"));
	CHECK(stage_has(&stage->reports, "Action: failed\r\nStatus: 4.4.1\r\n"));
	CHECK_INT(stage_count_indexed(), 0);
}

TEST(a_lifetime_of_zero_gives_up_after_one_attempt)
{
	stage_play(MAIN "maximal_queue_lifetime = 0\n", play_expiry);
}

static void play_notify(void)
{
	struct recipient r[3] = {
		{.address = STR("never1@b.example"), .notify = NOTIFY_NEVER},
		{.address = STR("ok@b.example"), .notify = NOTIFY_SUCCESS | NOTIFY_FAILURE, .orcpt = STR("rfc822;OK@b.example")},
		{.address = STR("never2@b.example"), .notify = NOTIFY_SUCCESS}};

	stage_add_deliverer(1, false);
	stage_append("a@example.org", r, 3, 0, STR("Subject: hello\r\n\r\nbody\r\n"));
	WAIT_FOR(stage->jobs == 1 && map_count(&stage->q.works) == 0);
	CHECK_STR(buf_str(&stage->envelopes), STR("<>a@example.org "));
	CHECK(stage_has(
		&stage->reports,
		"Final-Recipient: rfc822; ok@b.example\r\nOriginal-Recipient: rfc822;OK@b.example\r\nAction: relayed\r\n"));
	CHECK(!stage_has(&stage->reports, "never"));
}

TEST(the_sender_decides_what_it_hears_of)
{
	stage_play(MAIN, play_notify);
}

static void play_cleared(void)
{
	stage_add_deliverer(1, false);
	stage_send_mail("a@example.org", "later@b.example");
	WAIT_FOR(stage_has(&stage->envelopes, "<>a@example.org "));
	CHECK(stage_has(&stage->reports, "Action: delayed\r\n"));
	buf_reset(&stage->reports);
	stage->is_later_over = true;
	WAIT_FOR(stage_has(&stage->delivered, "later@b.example") && map_count(&stage->q.works) == 0);
	CHECK(stage_has(&stage->reports, "Subject: Successful Mail Delivery Report\r\n"));
	CHECK(stage_has(&stage->reports, "Action: relayed\r\n"));
}

TEST(a_sender_that_was_warned_hears_of_the_delivery_when_configured)
{
	stage_play(MAIN
	           "minimal_backoff_time = 1s\nmaximal_backoff_time = 1s\ndelay_warning_time = 1s\nconfirm_delay_cleared = yes\n",
	           play_cleared);
}

static void play_probe(void)
{
	struct recipient r[2] = {{.address = STR("ok@b.example")}, {.address = STR("later@b.example")}};

	stage_add_deliverer(1, false);
	stage_append("a@example.org", r, 2, ENVELOPE_VERIFY_ONLY, STR("From: a@example.org\r\n\r\n"));
	WAIT_FOR(stage->jobs && map_count(&stage->q.works) == 0);
	CHECK(stage_has(&stage->reports, "Subject: Mail Delivery Status Report\r\n"));
	CHECK(stage_has(&stage->reports, "Action: deliverable\r\n") && stage_has(&stage->reports, "Action: undeliverable\r\n"));
	CHECK_INT(stage_count_indexed(), 0);
}

TEST(a_probe_is_answered_by_a_report_and_not_repeated)
{
	stage_play(MAIN, play_probe);
}
