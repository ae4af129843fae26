/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Master: reads the configuration, owns the sockets, starts the roles and introduces
 * them to each other, starts dead ones again, and replaces them all on reload without
 * dropping a session. It does no mail work and reads nothing from strangers.
 *
 * A role has one slot, or one a core. The instance that works in a slot is its `current`;
 * while a replacement is under way the slot has a `next`, which takes over when every
 * next of that replacement is ready. The old one leaves: it is told to drain and ends when
 * its work is done. Until then it is in the list of instances like all others.
 */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/list.h"
#include "config/config.h"
#include "ipc/channel.h"
#include "process/rights.h"

/* A listening socket and the service that it belongs to. */
struct listener {
	struct list link;
	char *service; /* "submission/inet", by the configuration in force; NULL when it does not know the address */
	char *wanted;  /* the same by the configuration that is being tried */
	struct sockaddr_storage address;
	socklen_t address_size;
	int fd;
};

enum instance_state {
	INSTANCE_STARTING, /* until READY */
	INSTANCE_READY,
	INSTANCE_LEAVING,  /* shall drain, but others still need it */
	INSTANCE_DRAINING, /* has been told */
};

/* One process. */
struct instance {
	struct list link;
	struct master *master;
	struct slot *slot;
	enum ipc_role role;
	const struct rights *rights;
	uint32_t id;
	pid_t pid;
	uint32_t generation;
	struct channel *control; /* NULL when it closed */
	struct fiber *reader;
	enum instance_state state;
	bool is_gone;           /* the process has ended */
	uint32_t client_column; /* of those that serve clients, in client_counts; NO_COLUMN when there was none left */
	struct instant started_at;
	struct buf why;      /* of FAILED */
	struct list watched; /* files of keys and certificates that it uses: renewal.c */
	size_t watched_count;
};

struct slot {
	enum ipc_role role;
	uint32_t rank; /* among the slots of this role */
	struct instance *current;
	struct instance *next;
	unsigned failures;         /* deaths soon after the start, in a row */
	struct instant restart_at; /* when there is no current one */
};

enum { SLOT_MAX = 256, ENDPOINT_MAX = 4 };
#define NO_COLUMN UINT32_MAX

/* The newest, and those before it that still decrypt. */
enum { TICKET_KEY_SIZE = 80, TICKET_KEY_COUNT = 3 };

/* TLS traces that the processes of one role left in the present time unit. */
struct trace_count {
	struct instant unit_ends;
	int64_t count;
};

struct master {
	struct str config_dir;
	char *libexec;
	bool is_foreground;
	bool has_been_checked; /* who started us, or wants the reload, has told what is wrong with the configuration */
	int notify_fd;         /* who started us waits at the other end; -1 when nobody does */

	struct config *config; /* in force */
	int snapshot_fd;
	uint32_t generation;
	int log_fd;  /* -1: syslog */
	int pid_fd;  /* locked: commands see by it that we run */
	int turn_fd; /* locked: we are the only one */

	struct list listeners; /* struct listener */
	struct {
		const char *name;
		int fd;
	} endpoints[ENDPOINT_MAX];
	size_t endpoint_count;

	struct client_counts *client_counts; /* shared by all processes that serve clients, of every generation */
	int client_counts_fd;

	struct slot slots[SLOT_MAX];
	size_t slot_count;
	struct list instances;
	uint32_t last_id;

	unsigned char ticket_keys[TICKET_KEY_COUNT][TICKET_KEY_SIZE];
	struct trace_count traces[ROLE_COUNT];

	bool is_serving;
	bool is_stopping;
	bool has_failed; /* at the start */
	bool wants_reload;
	uint32_t replace_roles;   /* bits of roles whose tables changed */
	struct wait_list changed; /* woken when an instance changes its state, and by the wishes above */
};

/* --- master.c: start, reload, stop ---------------------------------------------- */

/* Sets everything up and serves until it is told to stop. Returns the exit status. */
int master_run(struct master *m);

/* --- folders.c ------------------------------------------------------------------- */

/* Creates what is missing below queue_directory and data_directory and mends owners and modes. */
[[nodiscard]] int folders_make(const struct config *c, struct buf *why);
/* Takes the lock that one master has at a time, and makes pid/master.pid. -EBUSY when another master runs. */
[[nodiscard]] int pid_file_take(const struct config *c, struct master *m, struct buf *why);

/* --- listeners.c ------------------------------------------------------------------ */

/* Binds what this configuration wants and is not bound yet. On failure everything is as before. */
[[nodiscard]] int listeners_open(struct master *m, const struct config *c, struct buf *why);
/* The configuration is in force: closes what it does not want. */
void listeners_commit(struct master *m);
/* It is not: closes what was opened for it. */
void listeners_abort(struct master *m);
/* The local sockets of all roles. */
[[nodiscard]] int endpoints_open(struct master *m, const struct config *c, struct buf *why);

/* --- log_sink.c --------------------------------------------------------------------- */

/* Opens (again) what maillog_file says; the roles get it by instances_send_log(). */
[[nodiscard]] int log_sink_open(struct master *m, const struct config *c, struct buf *why);
/* Master's own lines get syslog_name and syslog_facility of that configuration. */
void log_sink_name(const struct config *c);

/* --- instances.c: processes and who knows whom ------------------------------------- */

void slots_make(struct master *m);
/* Starts a process for the slot, sends it all it needs and introduces it. NULL with the reason in *why. */
struct instance *instance_start(struct master *m, struct slot *slot, const struct config *c, int snapshot_fd, struct buf *why);
/* It has no place any more: peers give it no new work, and as soon as nobody needs it it is told to drain. */
void instance_leave(struct instance *i);
/* Sends DRAIN to those that were waiting until others have gone. */
void instances_advance(struct master *m);
/* After SIGCHLD. */
void instances_reap(struct master *m);
/* All are to finish and leave. */
void instances_stop(struct master *m);
void instances_kill(struct master *m, int signal);
void instances_send_log(struct master *m);
/* Sends a message; that nobody listens any more shows at the end of the process. */
void instance_tell(struct instance *i, const struct message *msg);
/* The configuration in force, once more, to a role that takes it in place. */
void instance_send_config(struct instance *i, uint32_t generation, int snapshot_fd);
/* Once master serves: starts what is missing and due; returns when the next one is due. */
struct instant slots_fill(struct master *m);
/* Frees what has ended and been heard out. */
void instances_forget(struct master *m);

/* --- renewal.c: keys and certificates that are renewed, and keys of session tickets --- */

/* TLS_WATCH of a role that is starting. */
void renewal_watch(struct instance *i, const struct message *msg);
void renewal_forget(struct instance *i);
/* The keys of session tickets, to a role that gives tickets out. */
void renewal_send_ticket_keys(struct instance *i);
/* Starts the fibers that look after both. */
void renewal_start(struct master *m);

/* --- trace_sink.c: traces of TLS sessions -------------------------------------------- */

#define TRACE_FOLDER "tlstrace"

/* Writes one to a file of its own, unless its role has left too many lately. */
void trace_save(struct instance *i, struct str name, struct str text);

/* --- replace.c ---------------------------------------------------------------------- */

/* Starts the first processes. Waits until all are ready; with the reason in *why when one is not. */
[[nodiscard]] int replace_first(struct master *m, struct buf *why) WAITS;
/* Checks DIR/main.cf and master.cf and, when they are good, replaces the roles; else all stays as it is. */
void replace_for_reload(struct master *m) WAITS;
/* New processes of these roles, same configuration. */
void replace_for_tables(struct master *m, uint32_t roles) WAITS;
/* A sealed memory file with the configuration. */
[[nodiscard]] int snapshot_make(const struct config *c, int *ret_fd, struct buf *why);
