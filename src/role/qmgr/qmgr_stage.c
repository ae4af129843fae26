/* SPDX-License-Identifier: Apache-2.0 */
#include "role/qmgr/qmgr_stage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "check.h"

struct stage *stage;

/* --- the receiver ------------------------------------------------------------------------- */

static void want_segment(void *arg)
{
	struct message m = {.type = MESSAGE_SEGMENT_WANTED};

	CHECK_INT(channel_send(stage->receiver, &m), 0);
}

static void queued(void *arg, uint32_t segment, uint32_t epoch, uint64_t end, int is_sealed)
{
	struct message m = {.type = is_sealed ? MESSAGE_SEGMENT_SEALED : MESSAGE_QUEUED};

	if (is_sealed)
		m.segment_sealed = (struct message_segment_sealed){.segment = segment, .epoch = epoch, .end = end};
	else
		m.queued = (struct message_queued){.segment = segment, .epoch = epoch, .end = end};
	if (channel_send(stage->receiver, &m))
		return;
}

void stage_append(const char *sender, struct recipient *recipients, uint32_t count, uint32_t flags, struct str content)
{
	struct envelope e = {.arrival = clock_wall(),
	                     .sender = str_of(sender),
	                     .recipients = recipients,
	                     .recipient_count = count,
	                     .flags = flags};

	queue_id_make(&stage->ids, e.arrival, e.queue_id);
	e.content_size = content.len;
	CHECK_INT(appender_append(stage->ap, &e, content), 0);
}

void stage_send_mail(const char *sender, const char *recipient)
{
	struct recipient r = {.address = str_of(recipient)};

	stage_append(sender, &r, 1, 0, STR("Subject: hello\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n"));
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
	buf_addf(&stage->envelopes, "<%.*s>%.*s ", STR_ARG(e.sender), STR_ARG(e.recipients[0].address));
	while (stage->is_answer_late)
		CHECK_INT(fiber_sleep(duration_ms(10)), 0);
	lseek(m->fd, 0, SEEK_SET);
	room = buf_room(&stage->reports, 65536);
	size = read(m->fd, room, 65536);
	CHECK(size > 0);
	buf_added(&stage->reports, (size_t)size);
	close(m->fd);
	answer.submitted = (struct message_submitted){.token = m->submit.token, .code = 250, .queue_id = STR("4REPORT")};
	CHECK_INT(channel_send(stage->receiver, &answer), 0);
	arena_done(&a);
}

static void receive(void *arg)
{
	struct message m;

	/* Ends by being cancelled: appender_free() still sends. */
	while (!channel_recv(stage->receiver, INSTANT_NEVER, &m)) {
		if (m.type == MESSAGE_SEGMENT_GRANT)
			appender_grant(stage->ap, m.fd, m.segment_grant.segment, m.segment_grant.epoch, m.segment_grant.size);
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
	if ((str_starts(address, STR("later")) && !stage->is_later_over) || str_starts(address, STR("down")))
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
		buf_addf(&stage->delivered, "%.*s>%.*s ", STR_ARG(e->sender), STR_ARG(address));
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

	stage->jobs++;
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

void stage_add_deliverer(uint32_t id, bool never_dies)
{
	struct deliverer *d = mem_alloc(sizeof *d);
	int fds[2];

	CHECK_INT(channel_socketpair(fds), 0);
	d->ch = channel_new(fds[1]);
	d->never_dies = never_dies;
	fiber_start("deliverer", work, d);
	peer_add(&stage->q, ROLE_SMTP, id, channel_new(fds[0]));
}

/* --- the stage ----------------------------------------------------------------------------------- */

struct config *stage_load(const char *main_cf)
{
	char text[4096];

	snprintf(text, sizeof text, "queue_directory = %s\n%s", stage->folder, main_cf);
	check_write_file("main.cf", text);
	check_write_file("master.cf", "smtp unix - - n - - smtp\nerror unix - - n - - error\nretry unix - - n - - error\n");
	return config_load(str_of(stage->folder), NULL, 0);
}

static void open_queue(void)
{
	struct append_owner owner = {NULL, want_segment, queued, NULL, NULL};
	struct buf why = BUF_INIT(1000);
	int fds[2];

	CHECK_INT(qmgr_open(&stage->q, &why), 0);
	CHECK_INT(channel_socketpair(fds), 0);
	stage->receiver = channel_new(fds[1]);
	peer_add(&stage->q, ROLE_SMTPD, 1, channel_new(fds[0]));
	stage->ap = appender_new(&owner);
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

	CHECK_INT(qmgr_init(&stage->q, stage_load(p->main_cf), &why), 0);
	open_queue();
	p->fn();
	appender_free(stage->ap);
	qmgr_drain(&stage->q);
	buf_done(&why);
	loop_stop();
}

void stage_play(const char *main_cf, void (*fn)(void))
{
	static struct stage w;
	struct play p = {main_cf, fn};
	char path[512];

	w = (struct stage){.folder = check_folder(),
	                   .delivered = BUF_INIT(1 << 20),
	                   .reports = BUF_INIT(1 << 20),
	                   .envelopes = BUF_INIT(1 << 16)};
	stage = &w;
	snprintf(path, sizeof path, "%s/log", w.folder);
	w.log_fd = open(path, O_CREAT | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
	log_open(LOG_SINK_FD, w.log_fd);
	log_set_tag(STR("postfix/qmgr"));
	loop_init();
	channel_loop_init();
	fiber_start("play", perform, &p);
	loop_run();
	log_open(LOG_SINK_NONE, -1);
	loop_done();
	channel_free(w.receiver);
	qmgr_done(&w.q);
	close(w.log_fd);
	buf_done(&w.delivered);
	buf_done(&w.reports);
	buf_done(&w.envelopes);
}

bool stage_has(const struct buf *b, const char *text)
{
	return str_find_str(buf_str(b), str_of(text)) < b->len;
}

bool stage_has_logged(const char *text)
{
	static char all[65536];
	ssize_t size;

	log_flush();
	size = pread(stage->log_fd, all, sizeof all, 0);
	return size > 0 && str_find_str(str_n(all, (size_t)size), str_of(text)) < (size_t)size;
}

uint64_t stage_count_indexed(void)
{
	struct spool_counts counts;

	spool_count(stage->q.spool, &counts);
	return counts.indexed;
}

struct message_work *stage_find_work(void)
{
	size_t at = 0;
	void *w = NULL;

	CHECK(map_next(&stage->q.works, &at, NULL, &w));
	return w;
}
