/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The role that delivers on this machine: what its files share.
 *
 * qmgr sends DELIVER; the service that the transport names (master.cf) decides by its program
 * who delivers. Each recipient ends in exactly one outcome_report().
 */
#pragma once

#include "base/arena.h"
#include "config/config.h"
#include "config/params.h"
#include "ipc/channel.h"
#include "mail/envelope.h"
#include "role/local/workers.h"
#include "route/resolve.h"
#include "table/table.h"

/* The programs of master.cf that this role stands for. */
enum agent {
	AGENT_LOCAL,
	AGENT_VIRTUAL,
	AGENT_ERROR,
	AGENT_RETRY,
	AGENT_DISCARD,
	AGENT_PIPE,
	AGENT_COUNT,
	AGENT_NONE = AGENT_COUNT /* a name that is no transport of ours */
};

/* A transport: its view and the tables that its agent asks. */
struct transport {
	struct str name;
	enum agent agent;
	const struct view *view;
	const struct params *params;
	struct str tag;        /* of the log: "postfix/virtual" */
	unsigned lock_flags;   /* enum work_flag from *_delivery_lock */
	struct router *router; /* local */
	struct maps *aliases;
	struct maps *mailbox_commands;
	struct maps *mailbox_transports;
	struct maps *fallback_transports;
	struct maps *mailboxes; /* virtual */
	struct maps *uids;
	struct maps *gids;
};

struct customer;

/* One DELIVER on its way. */
struct job {
	struct list link;
	struct customer *customer;
	struct channel *qmgr; /* the customer's */
	uint64_t number;
	const struct transport *transport;
	struct str nexthop;
	struct envelope envelope;
	struct content_file *file;
	uint64_t content_at;
	uint64_t content_size;
	struct wall_time active;
	struct wall_time started;
	struct arena arena;
};

/* How one recipient, or one address it was expanded to, fared. Strings live as long as the job. */
struct outcome {
	enum delivery_status status;
	struct str dsn;
	struct str text;
	struct str action; /* of the delivery report, when it is not the usual one */
};

[[nodiscard]] struct outcome outcome_of(struct job *j, const char *dsn, const char *fmt, ...) PRINTF_LIKE(3, 4);
struct outcome outcome_from_worker(const struct work_answer *answer);
/* The to= line: `address` is the recipient or what it became; `relay` is "local", "virtual", "none". */
void outcome_log(struct job *j, const struct outcome *o, struct str address, struct str original, const char *relay);
/* What qmgr learns of a recipient (its number in the envelope). */
void outcome_report(struct job *j, const struct outcome *o, uint32_t recipient);

/* The transport of this name, opened on first use. One that is not ours has AGENT_NONE. */
const struct transport *transport_find(const struct config *c, struct str name);
/* Was a table of any of them replaced? */
bool transports_have_changed(void);
void transports_done(void);

/* The lines in front of the message: Return-Path, X-Original-To, Delivered-To. */
struct str delivery_head(struct job *j, const struct recipient *r, struct str delivered_to);
/* "From sender date" of an mbox, with the sender's address or another one. */
struct str from_line_of(struct job *j, struct str sender);
struct str delivery_from_line(struct job *j);
/* Has the worker of that user write a mailbox or Maildir. `loop` as in WORK_MAILBOX. */
struct outcome deliver_mailbox(struct job *j, uid_t uid, gid_t gid, struct message_work_mailbox *m) WAITS;

/* The agents: all recipients of a job, logged and reported. */
void agent_virtual(struct job *j) WAITS;
void agent_local(struct job *j) WAITS;
void agent_pipe(struct job *j) WAITS;
void agent_error(struct job *j, bool is_permanent);
void agent_discard(struct job *j);
