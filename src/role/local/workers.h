/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workers of this process: one child a user id and group id, started when first needed
 * and kept. Not started by root there is only the one of our own id.
 */
#pragma once

#include <sys/types.h>

#include "base/arena.h"
#include "ipc/channel.h"

/* A file with content that qmgr opened for us; shared with workers as they need it. */
struct content_file {
	uint64_t number; /* our name for it towards workers */
	int fd;
	unsigned users;
	bool is_done; /* qmgr closed it: released by its last user */
};

[[nodiscard]] struct content_file *content_file_new(int fd);
void content_file_hold(struct content_file *f);
/* The last one closes it here and in all workers. */
void content_file_release(struct content_file *f);

/* What a worker answered; strings lie in the arena of the question. */
struct work_answer {
	enum delivery_status status;
	struct str dsn;
	struct str text;
	int error;       /* of WORK_READ */
	struct str data; /* of WORK_READ */
};

/* As whom a worker works, and where. */
struct identity {
	uid_t uid;
	gid_t gid;
	struct str root; /* the folder that is its root; empty for the system's */
};

/*
 * Has the worker of that user do it. `m` is a WORK_MAILBOX, WORK_COMMAND or WORK_READ; its token and file
 * are filled in here; `file` is NULL for WORK_READ. Always answers: what goes wrong here is a deferral.
 */
void workers_run(const struct identity *who, struct message *m, struct content_file *file, struct arena *a,
                 struct work_answer *ret_answer) WAITS;
/* The program to start workers from; the default is the one that runs. */
void workers_set_program(const char *path);
/* Ends them all. */
void workers_done(void);
