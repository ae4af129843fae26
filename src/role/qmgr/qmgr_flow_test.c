/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue manager with a real spool, a receiver that appends to it, and deliverers that
 * answer as each test wants: by the name of the recipient ("ok", "later", "never", "down", "die").
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "check.h"
#include "mail/queue_id.h"
#include "role/qmgr/control.h"
#include "role/qmgr/qmgr.h"
#include "spool/append.h"

struct world {
	struct qmgr q;
	struct appender *ap;
	struct channel *receiver;
	struct queue_id_maker ids;
	struct buf delivered; /* "sender>recipient " of all that was sent */
	struct buf reports;   /* contents of what was submitted */
	struct buf envelopes; /* "sender>recipient " of what was submitted */
	unsigned jobs;
	bool is_later_over;  /* "later" is taken now */
	bool is_answer_late; /* the receiver keeps what is submitted to itself */
	const char *folder;
	int log_fd;
};

static struct world *world;

/* --- the receiver ------------------------------------------------------------------------- */

static void want_segment(void *arg)
{
	struct message m = {.type = MESSAGE_SEGMENT_WANTED};

	CHECK_INT(channel_send(world->receiver, &m), 0);
}

static void queued(void *arg, uint32_t segment, uint32_t epoch, uint64_t end, int is_sealed)
{
	struct message m = {.type = is_sealed ? MESSAGE_SEGMENT_SEALED : MESSAGE_QUEUED};

	if (is_sealed)
		m.segment_sealed = (struct message_segment_sealed){.segment = segment, .epoch = epoch, .end = end};
	else
		m.queued = (struct message_queued){.segment = segment, .epoch = epoch, .end = end};
	if (channel_send(world->receiver, &m))
		return;
}

static void append(const char *sender, struct recipient *recipients, uint32_t count, uint32_t flags, struct str content)
{
	struct envelope e = {.arrival = clock_wall(),
	                     .sender = str_of(sender),
	                     .recipients = recipients,
	                     .recipient_count = count,
	                     .flags = flags};

	queue_id_make(&world->ids, e.arrival, e.queue_id);
	e.content_size = content.len;
	CHECK_INT(appender_append(world->ap, &e, content), 0);
}

static void send_mail(const char *sender, const char *recipient)
{
	struct recipient r = {.address = str_of(recipient)};

	append(sender, &r, 1, 0, STR("Subject: hello\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n"));
}

/* Reports are noted, and not sent on: the tests look at them. */
static void take_submit(const struct message *m)
{
	struct message answer = {.type = MESSAGE_SUBMITTED};
	struct arena a = ARENA_INIT;
	struct envelope e;
	char *room;
	ssize_t size;

	CHECK_INT(envelope_decode(m->submit.envelope, &a, &e), 0);
	buf_addf(&world->envelopes, "<%.*s>%.*s ", STR_ARG(e.sender), STR_ARG(e.recipients[0].address));
	while (world->is_answer_late)
		CHECK_INT(fiber_sleep(duration_ms(10)), 0);
	lseek(m->fd, 0, SEEK_SET);
	room = buf_room(&world->reports, 65536);
	size = read(m->fd, room, 65536);
	CHECK(size > 0);
	buf_added(&world->reports, (size_t)size);
	close(m->fd);
	answer.submitted = (struct message_submitted){.token = m->submit.token, .code = 250, .queue_id = STR("4REPORT")};
	CHECK_INT(channel_send(world->receiver, &answer), 0);
	arena_done(&a);
}

static void receive(void *arg)
{
	struct message m;

	/* Ends by being cancelled: appender_free() still sends. */
	while (!channel_recv(world->receiver, INSTANT_NEVER, &m)) {
		if (m.type == MESSAGE_SEGMENT_GRANT)
			appender_grant(world->ap, m.fd, m.segment_grant.segment, m.segment_grant.epoch, m.segment_grant.size);
		else if (m.type == MESSAGE_SUBMIT)
			take_submit(&m);
	}
}

/* --- deliverers ------------------------------------------------------------------------------ */

struct deliverer {
	struct channel *ch;
	bool never_dies;
};

#define FIFTY "no such user in this place, try another one there "
static const char long_reason[] = FIFTY FIFTY FIFTY FIFTY FIFTY FIFTY FIFTY FIFTY;

static void answer_one(struct deliverer *d, const struct message_deliver *job, const struct envelope *e, uint32_t at)
{
	struct str address = e->recipients[at].address;
	struct message m = {.type = MESSAGE_DELIVERED};

	m.delivered = (struct message_delivered){.job = job->job,
	                                         .recipient = at,
	                                         .status = DELIVERY_SENT,
	                                         .dsn = STR("2.0.0"),
	                                         .text = STR("250 ok"),
	                                         .action = STR("relayed")};
	if ((str_starts(address, STR("later")) && !world->is_later_over) || str_starts(address, STR("down")))
		m.delivered = (struct message_delivered){.job = job->job,
		                                         .recipient = at,
		                                         .status = DELIVERY_DEFERRED,
		                                         .dsn = STR("4.4.1"),
		                                         .text = STR("connect to far: refused")};
	else if (str_starts(address, STR("neverlong")))
		m.delivered = (struct message_delivered){.job = job->job,
		                                         .recipient = at,
		                                         .status = DELIVERY_BOUNCED,
		                                         .dsn = STR("5.1.1"),
		                                         .text = str_n(long_reason, sizeof long_reason - 1)};
	else if (str_starts(address, STR("never")))
		m.delivered = (struct message_delivered){.job = job->job,
		                                         .recipient = at,
		                                         .status = DELIVERY_BOUNCED,
		                                         .dsn = STR("5.1.1"),
		                                         .text = STR("host far said: 550 no"),
		                                         .mta = STR("far"),
		                                         .diagnostic = STR("550 no")};
	else
		buf_addf(&world->delivered, "%.*s>%.*s ", STR_ARG(e->sender), STR_ARG(address));
	CHECK_INT(channel_send(d->ch, &m), 0);
}

static bool is_deadly(const struct envelope *e)
{
	return str_starts(e->recipients[0].address, STR("die"));
}

static int deliver(struct deliverer *d, const struct message_deliver *job)
{
	struct message done = {.type = MESSAGE_JOB_DONE};
	struct arena a = ARENA_INIT;
	struct envelope e;
	int err = 0;

	world->jobs++;
	CHECK_INT(envelope_decode(job->envelope, &a, &e), 0);
	if (is_deadly(&e) && !d->never_dies) {
		err = -EPIPE;
	} else {
		for (uint32_t i = 0; i < e.recipient_count; i++)
			answer_one(d, job, &e, i);
		done.job_done = (struct message_job_done){.job = job->job, .site = SITE_OK};
		if (str_starts(e.recipients[0].address, STR("down")))
			done.job_done = (struct message_job_done){
				.job = job->job, .site = SITE_DOWN, .reason = STR("4.4.1 connect to far: refused")};
		err = channel_send(d->ch, &done);
	}
	arena_done(&a);
	return err;
}

static void work(void *arg)
{
	struct deliverer *d = arg;
	struct message m;
	int err = 0;

	while (!err && !(err = channel_recv(d->ch, INSTANT_NEVER, &m))) {
		if (m.fd >= 0)
			close(m.fd);
		if (m.type == MESSAGE_DELIVER)
			err = deliver(d, &m.deliver);
	}
	channel_free(d->ch);
	free(d);
}

static void add_deliverer(uint32_t id, bool never_dies)
{
	struct deliverer *d = mem_alloc(sizeof *d);
	int fds[2];

	CHECK_INT(channel_socketpair(fds), 0);
	d->ch = channel_new(fds[1]);
	d->never_dies = never_dies;
	fiber_start("deliverer", work, d);
	peer_add(&world->q, ROLE_SMTP, id, channel_new(fds[0]));
}

/* --- the stage ----------------------------------------------------------------------------------- */

static void write_file(const char *name, const char *text)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", world->folder, name);
	f = fopen(path, "w");
	fputs(text, f);
	fclose(f);
}

static struct config *load(const char *main_cf)
{
	char text[4096];

	snprintf(text, sizeof text, "queue_directory = %s\n%s", world->folder, main_cf);
	write_file("main.cf", text);
	write_file("master.cf", "smtp unix - - n - - smtp\nerror unix - - n - - error\nretry unix - - n - - error\n");
	return config_load(str_of(world->folder), NULL, 0);
}

static void open_queue(void)
{
	struct append_owner owner = {NULL, want_segment, queued, NULL, NULL};
	struct buf why = BUF_INIT(1000);
	int fds[2];

	CHECK_INT(qmgr_open(&world->q, &why), 0);
	CHECK_INT(channel_socketpair(fds), 0);
	world->receiver = channel_new(fds[1]);
	peer_add(&world->q, ROLE_SMTPD, 1, channel_new(fds[0]));
	world->ap = appender_new(&owner);
	fiber_start("receiver", receive, NULL);
	buf_done(&why);
}

struct play {
	const char *main_cf;
	void (*fn)(void);
};

static void perform(void *arg)
{
	struct play *p = arg;
	struct buf why = BUF_INIT(1000);

	CHECK_INT(qmgr_init(&world->q, load(p->main_cf), &why), 0);
	open_queue();
	p->fn();
	appender_free(world->ap);
	qmgr_drain(&world->q);
	buf_done(&why);
	loop_stop();
}

static void play(const char *main_cf, void (*fn)(void))
{
	static struct world w;
	struct play p = {main_cf, fn};
	char path[512];

	w = (struct world){.folder = check_folder(),
	                   .delivered = BUF_INIT(1 << 20),
	                   .reports = BUF_INIT(1 << 20),
	                   .envelopes = BUF_INIT(1 << 16)};
	world = &w;
	snprintf(path, sizeof path, "%s/log", w.folder);
	w.log_fd = open(path, O_CREAT | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
	log_open(LOG_SINK_FD, w.log_fd, STR("host"));
	log_set_tag(STR("postfix/qmgr"));
	loop_init();
	channel_loop_init();
	fiber_start("play", perform, &p);
	loop_run();
	log_open(LOG_SINK_NONE, -1, STR(""));
	loop_done();
	channel_free(w.receiver);
	qmgr_done(&w.q);
	close(w.log_fd);
	buf_done(&w.delivered);
	buf_done(&w.reports);
	buf_done(&w.envelopes);
}

/* Waits until it is true, a minute at most. */
#define WAIT_FOR(condition) \
	do { \
		for (int tries = 0; tries < 6000 && !(condition); tries++) \
			CHECK_INT(fiber_sleep(duration_ms(10)), 0); \
		CHECK(condition); \
	} while (0)

static bool has(const struct buf *b, const char *text)
{
	return str_find_str(buf_str(b), str_of(text)) < b->len;
}

static bool has_logged(const char *text)
{
	static char all[65536];
	ssize_t size;

	log_flush();
	size = pread(world->log_fd, all, sizeof all, 0);
	return size > 0 && str_find_str(str_n(all, (size_t)size), str_of(text)) < (size_t)size;
}

static uint64_t count_indexed(void)
{
	struct spool_counts counts;

	spool_count(world->q.spool, &counts);
	return counts.indexed;
}

#define MAIN "myhostname = mx.example.com\nmydestination =\nmaximal_backoff_time = 4000s\n"

static void play_delivery(void)
{
	add_deliverer(1, false);
	send_mail("a@example.org", "ok@b.example");
	WAIT_FOR(has(&world->delivered, "a@example.org>ok@b.example "));
	WAIT_FOR(map_count(&world->q.works) == 0);
	CHECK(has_logged(": from=<a@example.org>, size=43, nrcpt=1 (queue active)\n"));
	CHECK(has_logged(": removed\n"));
	CHECK_INT(count_indexed(), 0);
	CHECK_INT(schedule_destination_count(world->q.schedule), 0);
}

TEST(a_message_is_delivered_and_forgotten)
{
	play(MAIN, play_delivery);
}

static void play_late_deliverer(void)
{
	send_mail("a@example.org", "ok@b.example");
	WAIT_FOR(!list_is_empty(&world->q.stranded));
	add_deliverer(1, false);
	WAIT_FOR(has(&world->delivered, "a@example.org>ok@b.example "));
	WAIT_FOR(map_count(&world->q.works) == 0);
}

TEST(mail_waits_for_a_deliverer)
{
	play(MAIN, play_late_deliverer);
}

static void play_groups(void)
{
	struct recipient r[5] = {{.address = STR("ok1@b.example")},
	                         {.address = STR("ok2@c.example")},
	                         {.address = STR("ok3@b.example")},
	                         {.address = STR("ok4@b.example")},
	                         {.address = STR("never@b.example")}};

	add_deliverer(1, false);
	append("a@example.org", r, 5, 0, STR("Subject: x\r\n\r\n"));
	WAIT_FOR(map_count(&world->q.works) == 0 && world->jobs);
	/* b.example: four recipients by two; c.example: one. */
	CHECK_INT(world->jobs, 3);
	CHECK(has(&world->delivered, "ok1@b.example ") && has(&world->delivered, "ok2@c.example "));
	CHECK_STR(buf_str(&world->envelopes), STR("<>a@example.org "));
}

TEST(recipients_of_one_nexthop_go_together_up_to_the_limit)
{
	play(MAIN "default_destination_recipient_limit = 2\n", play_groups);
}

static void play_deferral(void)
{
	add_deliverer(1, false);
	send_mail("a@example.org", "later@b.example");
	WAIT_FOR(count_indexed() == 1 && map_count(&world->q.works) == 0);
	CHECK(spool_next_due(world->q.spool).us >= clock_wall().us + 290 * 1000000LL);
	CHECK_INT(world->jobs, 1);
	spool_flush(world->q.spool);
	due_wake(&world->q);
	WAIT_FOR(world->jobs == 2 && map_count(&world->q.works) == 0);
	CHECK_INT(count_indexed(), 1);
	CHECK(!has_logged("removed"));
}

TEST(what_is_deferred_waits_in_the_index_and_is_tried_again_when_flushed)
{
	play(MAIN, play_deferral);
}

static void play_bounce(void)
{
	struct recipient r[3] = {
		{.address = STR("ok@b.example")}, {.address = STR("never@b.example")}, {.address = STR("later@b.example")}};

	add_deliverer(1, false);
	append("a@example.org", r, 3, 0, STR("Subject: hello\r\n\r\nbody\r\n"));
	WAIT_FOR(count_indexed() == 1 && map_count(&world->q.works) == 0);
	CHECK_STR(buf_str(&world->envelopes), STR("<>a@example.org "));
	CHECK(has(&world->reports, "Final-Recipient: rfc822; never@b.example\r\n"));
	CHECK(has(&world->reports,
	          "Action: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; far\r\nDiagnostic-Code: smtp; 550 no\r\n"));
	CHECK(has(&world->reports, "Subject: hello\r\n\r\nbody\r\n"));
	CHECK(!has(&world->reports, "later@b.example"));
	CHECK(has_logged("postfix/bounce"));
	CHECK(has_logged(": sender non-delivery notification: 4REPORT\n"));
	spool_flush(world->q.spool);
	due_wake(&world->q);
	WAIT_FOR(world->jobs == 2 && map_count(&world->q.works) == 0);
	/* Only what was left is tried; nobody gets a second report or copy. */
	CHECK_STR(buf_str(&world->envelopes), STR("<>a@example.org "));
	CHECK_STR(buf_str(&world->delivered), STR("a@example.org>ok@b.example "));
}

TEST(failures_of_a_round_come_back_in_one_report)
{
	play(MAIN, play_bounce);
}

static void play_long_reports(void)
{
	struct recipient r[40];
	char line[900];
	struct buf content = BUF_INIT(5000);

	add_deliverer(1, false);
	memset(line, 'b', sizeof line);
	buf_addf(&content, "Subject: hello\r\n\r\n");
	for (int i = 0; i < 4; i++)
		buf_addf(&content, "%.*s\r\n", (int)sizeof line, line);
	world->q.settings->report_size_max = 3500;
	append("a@example.org", &(struct recipient){.address = STR("never@b.example")}, 1, 0, buf_str(&content));
	WAIT_FOR(world->jobs == 1 && map_count(&world->q.works) == 0);
	CHECK(has(&world->reports, "Content-Description: Undelivered Message Headers\r\n"));
	CHECK(has(&world->reports, "Subject: hello\r\n"));
	CHECK(has(&world->reports, "550 no"));
	CHECK(!has(&world->reports, "bbbb"));
	buf_reset(&world->reports);
	for (size_t i = 0; i < COUNT_OF(r); i++)
		r[i] = (struct recipient){.address = STR("neverlong@b.example")};
	world->q.settings->report_size_max = 20000;
	append("a@example.org", r, COUNT_OF(r), 0, buf_str(&content));
	WAIT_FOR(world->jobs == 2 && map_count(&world->q.works) == 0);
	CHECK(has(&world->reports, "Final-Recipient: rfc822; neverlong@b.example\r\n"));
	CHECK_STR(buf_str(&world->envelopes), STR("<>a@example.org <>a@example.org "));
	buf_done(&content);
}

TEST(a_report_that_would_be_too_long_is_shortened)
{
	play(MAIN, play_long_reports);
}

static struct message_work *find_work(void)
{
	size_t at = 0;
	void *w = NULL;

	CHECK(map_next(&world->q.works, &at, NULL, &w));
	return w;
}

static void play_requeue(void)
{
	struct recipient r[2] = {{.address = STR("never@b.example")}, {.address = STR("later@b.example")}};

	world->is_answer_late = true;
	add_deliverer(1, false);
	append("a@example.org", r, 2, 0, STR("Subject: hello\r\n\r\nbody\r\n"));
	WAIT_FOR(has(&world->envelopes, "<>a@example.org "));
	find_work()->is_requeued = true;
	world->is_answer_late = false;
	WAIT_FOR(map_count(&world->q.works) == 0);
	CHECK_STR(buf_str(&world->envelopes), STR("<>a@example.org <a@example.org>later@b.example "));
	CHECK_INT(count_indexed(), 0);
}

TEST(a_message_is_requeued_though_its_report_is_on_the_way)
{
	play(MAIN, play_requeue);
}

static void play_withdrawn(void)
{
	struct recipient r[2] = {{.address = STR("never@b.example")}, {.address = STR("ok@c.example")}};

	append("a@example.org", r, 2, 0, STR("Subject: hello\r\n\r\nbody\r\n"));
	WAIT_FOR(map_count(&world->q.works) == 1);
	find_work()->is_requeued = true;
	add_deliverer(1, false);
	WAIT_FOR(map_count(&world->q.works) == 0);
	CHECK_STR(buf_str(&world->envelopes), STR("<>a@example.org "));
}

TEST(who_requeues_a_message_hears_of_what_failed_before)
{
	play(MAIN, play_withdrawn);
}

static void play_null_sender(void)
{
	add_deliverer(1, false);
	send_mail("", "never@b.example");
	WAIT_FOR(world->jobs == 1 && map_count(&world->q.works) == 0);
	CHECK_STR(buf_str(&world->envelopes), STR(""));
	CHECK(has_logged(": removed\n"));
}

TEST(a_bounce_that_bounces_is_dropped)
{
	play(MAIN, play_null_sender);
}

static void play_double_bounce(void)
{
	add_deliverer(1, false);
	send_mail("", "never@b.example");
	WAIT_FOR(world->jobs == 1 && map_count(&world->q.works) == 0);
	CHECK_STR(buf_str(&world->envelopes), STR("<double-bounce@mx.example.com>postmaster@example.com "));
	send_mail("double-bounce@mx.example.com", "never@b.example");
	WAIT_FOR(world->jobs == 2 && map_count(&world->q.works) == 0);
	CHECK_STR(buf_str(&world->envelopes), STR("<double-bounce@mx.example.com>postmaster@example.com "));
}

TEST(a_bounce_that_bounces_goes_to_the_postmaster_when_asked_for)
{
	play(MAIN "myorigin = example.com\nnotify_classes = 2bounce\n", play_double_bounce);
}

static void play_expiry(void)
{
	add_deliverer(1, false);
	send_mail("a@example.org", "later@b.example");
	WAIT_FOR(world->jobs == 1 && map_count(&world->q.works) == 0);
	CHECK(has_logged(": from=<a@example.org>, status=expired, returned to sender\n"));
	CHECK(has(&world->reports, "Action: failed\r\nStatus: 4.4.1\r\n"));
	CHECK_INT(count_indexed(), 0);
}

TEST(a_lifetime_of_zero_gives_up_after_one_attempt)
{
	play(MAIN "maximal_queue_lifetime = 0\n", play_expiry);
}

static void play_notify(void)
{
	struct recipient r[3] = {
		{.address = STR("never1@b.example"), .notify = NOTIFY_NEVER},
		{.address = STR("ok@b.example"), .notify = NOTIFY_SUCCESS | NOTIFY_FAILURE, .orcpt = STR("rfc822;OK@b.example")},
		{.address = STR("never2@b.example"), .notify = NOTIFY_SUCCESS}};

	add_deliverer(1, false);
	append("a@example.org", r, 3, 0, STR("Subject: hello\r\n\r\nbody\r\n"));
	WAIT_FOR(world->jobs == 1 && map_count(&world->q.works) == 0);
	CHECK_STR(buf_str(&world->envelopes), STR("<>a@example.org "));
	CHECK(has(&world->reports,
	          "Final-Recipient: rfc822; ok@b.example\r\nOriginal-Recipient: rfc822;OK@b.example\r\nAction: relayed\r\n"));
	CHECK(!has(&world->reports, "never"));
}

TEST(the_sender_decides_what_it_hears_of)
{
	play(MAIN, play_notify);
}

static void play_dead_site(void)
{
	for (int i = 0; i < 12; i++)
		send_mail("a@example.org", "down@b.example");
	WAIT_FOR(map_count(&world->q.works) == 12);
	add_deliverer(1, false);
	WAIT_FOR(count_indexed() == 12 && map_count(&world->q.works) == 0);
	CHECK(world->jobs < 12);
	CHECK(has_logged("relay=none"));
	CHECK(has_logged("dsn=4.4.1, status=deferred (delivery temporarily suspended: connect to far: refused)\n"));
	CHECK_INT(schedule_window(world->q.schedule, STR("smtp"), STR("b.example")), 0);
	send_mail("a@example.org", "ok@c.example");
	WAIT_FOR(has(&world->delivered, "ok@c.example"));
	WAIT_FOR(map_count(&world->q.works) == 0);
}

TEST(a_dead_site_holds_up_its_own_mail_only)
{
	play(MAIN, play_dead_site);
}

static void play_death(void)
{
	add_deliverer(1, false);
	send_mail("a@example.org", "die@b.example");
	WAIT_FOR(world->jobs == 1 && list_first(&world->q.peers) && !list_is_empty(&world->q.stranded));
	add_deliverer(2, true);
	WAIT_FOR(has(&world->delivered, "die@b.example"));
	WAIT_FOR(map_count(&world->q.works) == 0);
}

TEST(the_jobs_of_a_deliverer_that_dies_go_to_another)
{
	play(MAIN, play_death);
}

/* A deliverer that takes jobs and says nothing, until its channel is freed. */
static struct channel *add_silent_deliverer(uint32_t id)
{
	int fds[2];

	CHECK_INT(channel_socketpair(fds), 0);
	peer_add(&world->q, ROLE_SMTP, id, channel_new(fds[0]));
	return channel_new(fds[1]);
}

static size_t busy_peers(void)
{
	size_t count = 0;

	LIST_EACH(&world->q.peers, it)
		count += LIST_ENTRY(it, struct peer, link)->busy > 0;
	return count;
}

static void play_deleted(void)
{
	struct channel *silent = add_silent_deliverer(1);

	send_mail("a@example.org", "ok@b.example");
	WAIT_FOR(busy_peers() == 1);
	find_work()->is_deleted = true;
	add_deliverer(2, true);
	channel_free(silent);
	WAIT_FOR(map_count(&world->q.works) == 0);
	CHECK_INT(world->jobs, 0);
	CHECK_INT(count_indexed(), 0);
}

TEST(a_deleted_message_does_not_go_to_another_deliverer)
{
	play(MAIN, play_deleted);
}

static void play_deadly(void)
{
	for (uint32_t i = 1; i <= 4; i++)
		add_deliverer(i, false);
	send_mail("a@example.org", "die@b.example");
	WAIT_FOR(count_indexed() == 1);
	CHECK_INT(world->jobs, 3);
	CHECK(has_logged("status=deferred (the delivery process died)"));
}

TEST(a_message_that_kills_deliverers_is_put_aside)
{
	play(MAIN, play_deadly);
}

static void visit_spool(void *arg)
{
	struct spool_visit v;
	int *seen = arg;

	CHECK(qmgr_enter_spool(&world->q, &v));
	CHECK_INT(fiber_sleep(duration_s(600)), -ECANCELED);
	CHECK(world->q.spool != NULL);
	CHECK(!qmgr_enter_spool(&world->q, &v));
	qmgr_leave_spool(&world->q, &v);
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
	play(MAIN, play_visit);
	CHECK_INT(visits_seen, 1);
}

static void play_hold(void)
{
	struct recipient r = {.address = STR("ok@b.example")};
	struct spool_counts counts;
	uint64_t count;

	add_deliverer(1, false);
	append("a@example.org", &r, 1, ENVELOPE_HOLD, STR("Subject: x\r\n\r\n"));
	WAIT_FOR(count_indexed() == 1 && map_count(&world->q.works) == 0);
	spool_flush(world->q.spool);
	due_wake(&world->q);
	CHECK_INT(fiber_sleep(duration_ms(50)), 0);
	spool_count(world->q.spool, &counts);
	CHECK_INT(counts.held, 1);
	CHECK_INT(world->jobs, 0);
	CHECK_INT(spool_change(world->q.spool, STR(""), SPOOL_RELEASE, &count), 0);
	due_wake(&world->q);
	WAIT_FOR(has(&world->delivered, "ok@b.example"));
	WAIT_FOR(map_count(&world->q.works) == 0);
}

TEST(held_mail_waits_until_it_is_released)
{
	play(MAIN, play_hold);
}

static void play_defer_transports(void)
{
	add_deliverer(1, false);
	send_mail("a@example.org", "ok@b.example");
	WAIT_FOR(count_indexed() == 1 && map_count(&world->q.works) == 0);
	CHECK_INT(world->jobs, 0);
	CHECK(has_logged("relay=none"));
	CHECK(has_logged("dsn=4.3.2, status=deferred (deferred transport)\n"));
	spool_flush(world->q.spool);
	due_wake(&world->q);
	WAIT_FOR(has(&world->delivered, "ok@b.example"));
	WAIT_FOR(map_count(&world->q.works) == 0);
}

TEST(deferred_transports_are_used_by_a_flush_only)
{
	play(MAIN "defer_transports = smtp\n", play_defer_transports);
}

static void play_reload(void)
{
	struct buf why = BUF_INIT(1000);

	add_deliverer(1, false);
	send_mail("a@example.org", "ok@b.example");
	WAIT_FOR(count_indexed() == 1 && map_count(&world->q.works) == 0);
	CHECK_INT(qmgr_reconfigure(&world->q, load(MAIN), &why), 0);
	send_mail("a@example.org", "ok2@b.example");
	WAIT_FOR(has(&world->delivered, "ok2@b.example"));
	WAIT_FOR(map_count(&world->q.works) == 0);
	buf_done(&why);
}

TEST(a_new_configuration_takes_hold_at_once)
{
	play(MAIN "defer_transports = smtp\n", play_reload);
}

static void play_soft_bounce(void)
{
	add_deliverer(1, false);
	send_mail("a@example.org", "never@b.example");
	WAIT_FOR(count_indexed() == 1 && map_count(&world->q.works) == 0);
	CHECK_STR(buf_str(&world->envelopes), STR(""));
}

TEST(soft_bounce_keeps_what_would_come_back)
{
	play(MAIN "soft_bounce = yes\n", play_soft_bounce);
}

static void play_filter(void)
{
	struct recipient r = {.address = STR("ok@b.example")};
	struct envelope e = {.arrival = clock_wall(),
	                     .sender = STR("a@example.org"),
	                     .recipients = &r,
	                     .recipient_count = 1,
	                     .filter = STR("nosuch:[127.0.0.1]:10025")};

	add_deliverer(1, false);
	queue_id_make(&world->ids, e.arrival, e.queue_id);
	CHECK_INT(appender_append(world->ap, &e, STR("Subject: x\r\n\r\n")), 0);
	WAIT_FOR(count_indexed() == 1 && map_count(&world->q.works) == 0);
	CHECK(has_logged("transport nosuch is no service of master.cf"));
	CHECK(has_logged("status=deferred (mail transport unavailable)"));
}

TEST(a_filter_goes_before_the_route)
{
	play(MAIN, play_filter);
}

static void play_many(void)
{
	add_deliverer(1, false);
	add_deliverer(2, false);
	for (int i = 0; i < 500; i++)
		send_mail("a@example.org", i % 3 ? "ok@b.example" : "ok@c.example");
	WAIT_FOR(world->jobs == 500 && map_count(&world->q.works) == 0);
	CHECK_INT(world->q.recipient_count, 0);
	CHECK_INT(schedule_busy_count(world->q.schedule), 0);
}

TEST(many_messages_pass_a_small_active_queue)
{
	play(MAIN "qmgr_message_active_limit = 10\n", play_many);
}

static void play_retry(void)
{
	add_deliverer(1, false);
	send_mail("a@example.org", "later@b.example");
	WAIT_FOR(world->jobs >= 3);
}

TEST(what_is_deferred_is_tried_again_when_its_time_comes)
{
	play(MAIN "minimal_backoff_time = 1s\nmaximal_backoff_time = 1s\n", play_retry);
}

static void play_cleared(void)
{
	add_deliverer(1, false);
	send_mail("a@example.org", "later@b.example");
	WAIT_FOR(has(&world->envelopes, "<>a@example.org "));
	CHECK(has(&world->reports, "Action: delayed\r\n"));
	buf_reset(&world->reports);
	world->is_later_over = true;
	WAIT_FOR(has(&world->delivered, "later@b.example") && map_count(&world->q.works) == 0);
	CHECK(has(&world->reports, "Subject: Successful Mail Delivery Report\r\n"));
	CHECK(has(&world->reports, "Action: relayed\r\n"));
}

TEST(a_sender_that_was_warned_hears_of_the_delivery_when_configured)
{
	play(MAIN "minimal_backoff_time = 1s\nmaximal_backoff_time = 1s\ndelay_warning_time = 1s\nconfirm_delay_cleared = yes\n",
	     play_cleared);
}

static void play_probe(void)
{
	struct recipient r[2] = {{.address = STR("ok@b.example")}, {.address = STR("later@b.example")}};

	add_deliverer(1, false);
	append("a@example.org", r, 2, ENVELOPE_VERIFY_ONLY, STR("From: a@example.org\r\n\r\n"));
	WAIT_FOR(world->jobs && map_count(&world->q.works) == 0);
	CHECK(has(&world->reports, "Subject: Mail Delivery Status Report\r\n"));
	CHECK(has(&world->reports, "Action: deliverable\r\n") && has(&world->reports, "Action: undeliverable\r\n"));
	CHECK_INT(count_indexed(), 0);
}

TEST(a_probe_is_answered_by_a_report_and_not_repeated)
{
	play(MAIN, play_probe);
}

static void play_reload_waiting(void)
{
	struct buf why = BUF_INIT(1000);

	send_mail("a@example.org", "ok@b.example");
	send_mail("a@example.org", "ok@c.example");
	WAIT_FOR(!list_is_empty(&world->q.stranded));
	CHECK_INT(qmgr_reconfigure(&world->q, load(MAIN "relayhost = [127.0.0.1]\n"), &why), 0);
	add_deliverer(1, false);
	WAIT_FOR(has(&world->delivered, "ok@b.example ") && has(&world->delivered, "ok@c.example "));
	WAIT_FOR(map_count(&world->q.works) == 0);
	buf_done(&why);
}

TEST(waiting_jobs_outlive_the_configuration_that_made_them)
{
	play(MAIN "relayhost = [127.0.0.2]\ndefault_transport = smtp\n", play_reload_waiting);
}
