/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue manager. A message comes from the spool (new, or due again), and then:
 *
 *	activate.c  finds transport and nexthop of each recipient, makes jobs of those that go together
 *	schedule.c  says which job is next
 *	job.c       gives it to an smtp or local process and takes the outcome of each recipient
 *	finish.c    when no job is left: what is done is marked, the rest waits in the index
 *	report.c    before that, for failures and the like: bounces, which submit.c hands to smtpd
 *	due.c       brings back from the index what is due
 *	control.c   answers mailq, postqueue and postsuper
 *
 * One fiber serves each peer; a few resolve addresses (tables may wait); one writes the
 * reports of a message; the rest happens in whatever fiber brought the news, without waiting.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "fiber/fiber.h"
#include "ipc/channel.h"
#include "role/qmgr/schedule.h"
#include "role/qmgr/settings.h"
#include "spool/owner.h"

struct router;

/* The router of one configuration; fibers that are inside it keep it alive. */
struct routing {
	struct router *router;
	struct config *config;
	unsigned users;
	bool is_retired;
};

enum outcome_status {
	OUTCOME_PENDING,
	OUTCOME_EARLIER, /* done in an earlier round */
	OUTCOME_SENT,
	OUTCOME_DEFERRED,
	OUTCOME_FAILED,
	OUTCOME_DELIVERABLE, /* of a probe */
	OUTCOME_UNDELIVERABLE,
	OUTCOME_PASSED, /* until its job ends: another transport takes it, reason.mta, with the nexthop reason.text */
};

/* What became of one recipient in this round. Strings lie in the message's arena. */
struct outcome {
	enum outcome_status status;
	struct spool_reason reason;
	struct str action; /* "relayed" ...; empty for the usual one */
	bool is_ours;      /* delivered by a transport of this host: it reports success itself */
};

/* A message at work; lies in the arena of its spool_message. */
struct message_work {
	struct spool_message *m;
	struct list link;         /* in qmgr.fresh or qmgr.reports */
	struct list jobs;         /* those not done yet */
	struct outcome *outcomes; /* one a recipient of the envelope */
	struct wall_time active_at;
	uint32_t jobs_left; /* and one more while jobs are being made */
	bool is_due;        /* from the index; new mail otherwise */
	bool is_expired;    /* given up in this round */
	bool is_deleted;    /* postsuper -d came while it was at work */
	bool is_held;       /* postsuper -h likewise */
	bool is_requeued;   /* postsuper -r likewise */
};

/* A command wants no delivery of it in this round. */
static inline bool work_is_withdrawn(const struct message_work *w)
{
	return w->is_deleted || w->is_held || w->is_requeued;
}

/* One delivery: recipients of one message with one transport and nexthop. */
struct job {
	struct schedule_entry entry;
	struct list message_link; /* in message_work.jobs */
	struct list peer_link;    /* in peer.jobs, or in qmgr.stranded */
	struct message_work *work;
	struct peer *peer; /* who delivers it; NULL while it waits */
	const struct transport_info *transport;
	struct str transport_name;
	struct str nexthop;
	struct str *addresses; /* resolved */
	uint32_t *recipients;  /* places in the envelope */
	uint32_t count;
	uint32_t losses; /* deliverers that died with it */
	uint64_t id;     /* 0 when no deliverer has it */
};

/* Another process. */
struct peer {
	struct list link;
	struct qmgr *q;
	struct channel *channel;
	enum ipc_role role;
	uint32_t id;
	bool is_draining;
	bool is_gone;
	struct list jobs;    /* its deliveries */
	size_t busy;         /* how many */
	struct map files;    /* segments and large files it has open */
	struct list submits; /* struct submit: what it was asked to take in */
	unsigned waits;      /* fibers of ours that wait for it */
};

/* A fiber that waits inside the spool; on its stack. */
struct spool_visit {
	struct list link;
	struct fiber *fiber;
};

/* Jobs by number, as the messages name them. */
struct job_table {
	struct job_slot *slots;
	uint32_t size;
	uint32_t free_at; /* first of the free ones, chained; 0 for none: slot 0 is not used */
};

struct qmgr {
	struct settings *settings;
	struct routing *routing;
	struct spool *spool;
	struct schedule *schedule;
	struct job_table table;
	struct timer wakeup; /* for what schedule_wakeup() says */

	struct map works;        /* queue id -> struct message_work, all at work */
	struct map seen_domains; /* of ours, that were looked at for conflicts between lists */
	struct list fresh;       /* to be activated: new mail */
	struct list fresh_due;   /* to be activated: from the index */
	struct wait_list resolvers;
	size_t due_count;       /* works that came from the index */
	size_t recipient_count; /* of all works */
	bool is_hungry;
	bool is_draining;
	bool is_spool_open;
	struct list visits; /* struct spool_visit */
	struct wait_list visits_over;

	struct list peers;
	struct list stranded; /* jobs for which no deliverer is there */
	struct list reports;  /* works that wait for a report fiber */
	size_t report_fibers;
	uint64_t last_token;
	struct wait_list due_wait;      /* wakes the fiber of due.c */
	struct wall_time next_deferred; /* earliest attempt of what is on its way into the index, or 0 */
	struct buf envelope;            /* scratch of job_send() */
	struct recipient *recipients;
	size_t recipients_size;
	struct buf line; /* scratch for log lines */
};

/* --- qmgr.c ---------------------------------------------------------------------------- */

/* Before anything else: reads the configuration, which becomes the qmgr's. `q` is zeroed. */
[[nodiscard]] int qmgr_init(struct qmgr *q, struct config *c, struct buf *why);
/* Opens the spool and starts to work. */
[[nodiscard]] int qmgr_open(struct qmgr *q, struct buf *why) WAITS;
/* Another configuration; the old one is freed when nobody is inside it any more. With an error nothing changes. */
[[nodiscard]] int qmgr_reconfigure(struct qmgr *q, struct config *c, struct buf *why);
/* Starts nothing new, lets what runs end within a time, closes the spool. */
void qmgr_drain(struct qmgr *q) WAITS;
/* Around calls of the spool that wait, so that it is not closed meanwhile. False when it is closed: then do not call. */
[[nodiscard]] bool qmgr_enter_spool(struct qmgr *q, struct spool_visit *v);
void qmgr_leave_spool(struct qmgr *q, struct spool_visit *v);
/* Frees all, when no fiber is left. */
void qmgr_done(struct qmgr *q);

/* --- activate.c ---------------------------------------------------------------------- */

/* Frees a routing that is retired and that nobody uses any more. */
void routing_release(struct routing *r);

/* Takes a message from the spool into work. Does not wait. */
void activate_begin(struct qmgr *q, struct spool_message *m, bool is_due);
/* Starts the fibers that resolve. */
void activate_start(struct qmgr *q);
/* Tells the spool whether there is room for more. */
void activate_feed(struct qmgr *q);

/* A recipient goes through another transport than the resolver said: a job of its own. */
void activate_pass(struct qmgr *q, struct message_work *w, uint32_t at, struct str address, struct str transport,
                   struct str nexthop);

/* --- job.c ----------------------------------------------------------------------------- */

/* Lets the schedule start what may start. Does not wait. */
void job_pump(struct qmgr *q);
/* Hands the job to the schedule, or defers it when its destination is dead. */
void job_add(struct qmgr *q, struct job *job, struct str destination);
/* DELIVERED and JOB_DONE from a deliverer. -EBADMSG: nothing that an honest one sends. */
[[nodiscard]] int job_result(struct peer *p, const struct message_delivered *m);
[[nodiscard]] int job_pass(struct peer *p, const struct message_pass_on *m);
[[nodiscard]] int job_end(struct peer *p, const struct message_job_done *m);
/* The deliverer died: its jobs go to others. */
void job_peer_gone(struct peer *p);
/* A deliverer came: jobs that had none are sent. */
void job_peer_came(struct peer *p);
/* Takes back the jobs of a message that have not started. */
void job_withdraw(struct qmgr *q, struct message_work *w);
/* A recipient is deferred by ourselves: sets the outcome and writes the line. */
void job_defer_recipient(struct qmgr *q, struct message_work *w, uint32_t at, struct str address, struct str dsn,
                         struct str text);

/* --- finish.c -------------------------------------------------------------------------- */

/* No job is left. The message goes on to its reports, or leaves. */
void finish_begin(struct qmgr *q, struct message_work *w);
/* The reports are out: marks, index, gone. */
void finish_end(struct qmgr *q, struct message_work *w);

/* --- report.c, submit.c ------------------------------------------------------------------- */

bool report_is_wanted(const struct qmgr *q, const struct message_work *w);
/* Sends what is to be sent, then finish_end(). In a fiber of its own. */
void report_start(struct qmgr *q, struct message_work *w);

/*
 * New mail of our own: 0 and the new queue id when it is on disk, -EAGAIN when no smtpd takes it, -EACCES when
 * it was refused for good, -EMSGSIZE when as too long; `why` then has the words.
 */
[[nodiscard]] int submit_message(struct qmgr *q, const struct envelope *e, struct str content, char ret_id[QUEUE_ID_SIZE],
                                 struct buf *why) WAITS;
void submit_answered(struct peer *p, const struct message_submitted *m);
void submit_peer_gone(struct peer *p);
/* The content of a message, at most `max` bytes of it. */
[[nodiscard]] int content_load(struct qmgr *q, const struct spool_message *m, size_t max, struct buf *to) WAITS;

/* --- peer.c, due.c, control.c -------------------------------------------------------------- */

void peer_add(struct qmgr *q, enum ipc_role role, uint32_t id, struct channel *ch);
void peer_draining(struct qmgr *q, enum ipc_role role, uint32_t id);
/* A segment or large file is no more: deliverers close theirs. */
void peer_close_segment(struct qmgr *q, uint32_t segment, uint32_t epoch);
void peer_close_large(struct qmgr *q, uint64_t number);
/* Makes sure that the deliverer has the file of the message open. */
[[nodiscard]] int peer_open_content(struct peer *p, const struct spool_message *m);

void due_start(struct qmgr *q);
/* Something changed in the index or room became free. */
void due_wake(struct qmgr *q);
/* A message goes into the index and is due at that time. */
void due_expect(struct qmgr *q, struct wall_time at);

void control_start(struct qmgr *q, int fd);

/* --- lines of the log: qmgr_log.c -------------------------------------------------------------- */

void log_active(struct qmgr *q, const struct spool_message *m);
void log_removed(struct qmgr *q, const struct spool_message *m);
void log_expired(struct qmgr *q, const struct spool_message *m, const char *status);
void log_recipient(struct qmgr *q, const struct message_work *w, uint32_t at, struct str address, const char *status);
