/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker does, as blocking functions for its helper threads: it has become the
 * user already. Mail in the spool has CRLF lines; what is written here has LF lines.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "ipc/message.h"

enum work_flag {
	WORK_LOCK_FCNTL = 1,
	WORK_LOCK_FLOCK = 2,
	WORK_LOCK_DOTLOCK = 4,
	WORK_STRICT_OWNER = 8,  /* strict_mailbox_ownership */
	WORK_PLAIN_FILE = 16,   /* a /file of an alias: any kind of file, but no program */
	WORK_ARGV = 64,         /* WORK_COMMAND: a list of arguments */
	WORK_QUOTE_FROM = 128,  /* WORK_COMMAND: ">" before "From " */
	WORK_TRUSTED_FILE = 32, /* WORK_READ: another owner than the user is fine (:include:) */
	WORK_DOUBLE_DOTS = 256, /* WORK_COMMAND: "." before lines that begin with one */
	WORK_BLANK_LINE = 512,  /* WORK_COMMAND: an empty line at the end */
};

/* Content in the spool: a part of an open file. */
struct work_content {
	int fd;
	uint64_t at;
	uint64_t size;
};

struct work_result {
	enum delivery_status status;
	char dsn[8];
	struct buf text;
	int error;       /* of work_read() */
	struct buf data; /* of work_read() */
};

void work_result_init(struct work_result *r);
void work_result_done(struct work_result *r);
/* "4.2.0" and the like with the text; the first digit gives the status. */
void work_say(struct work_result *r, const char *dsn, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* An error of writing a mailbox: full quotas bounce, the rest is tried again. */
void work_say_errno(struct work_result *r, int error, const char *fmt, ...) PRINTF_LIKE(3, 4);

enum copy_flag {
	COPY_QUOTE_FROM = 1, /* ">" before "From " */
	COPY_DOUBLE_DOTS = 2,
	COPY_BLANK_LINE = 4, /* at the end */
};
/* How lines are written. */
struct copy_form {
	unsigned flags;
	struct str line_end;
};
extern const struct copy_form copy_plain; /* as they are, with LF */

/* Copies content to a descriptor. 0 or -errno. */
[[nodiscard]] int copy_content(int to, struct str head, const struct work_content *c, const struct copy_form *form);
/* Does a Delivered-To line of the header hold this address? 1, 0, -errno. */
[[nodiscard]] int content_was_delivered_to(const struct work_content *c, struct str address);

/* Locks of an open mailbox; the dotlock lies beside it. 0, or -EAGAIN with the text said. */
struct mailbox_lock {
	char *dotlock; /* NULL: none held */
};
[[nodiscard]] int mailbox_lock(struct mailbox_lock *l, int fd, const struct message_work_mailbox *m, struct work_result *r);
void mailbox_unlock(struct mailbox_lock *l);

/* One delivery to a Maildir. */
struct maildir_work {
	const struct message_work_mailbox *mailbox;
	const struct work_content *content;
	struct work_result *result;
};

/* Delivers them all; they share what makes them durable where the file system lets them. */
void work_maildirs(const struct maildir_work *works, size_t count);
/* False once a file system was met where deliveries are better made at once than together. */
bool maildirs_share_commits(void);
void work_mbox(const struct message_work_mailbox *m, const struct work_content *c, struct work_result *r);
void work_command(const struct message_work_command *m, const struct work_content *c, struct work_result *r);
/* To all commands that run. */
void commands_signal(int signal_number);
void work_read(const struct message_work_read *m, struct work_result *r);

/* The whole life of a worker process: "local worker UID GID ROOT", its channel at PROCESS_CONTROL_FD. */
int worker_main(char **argv);
