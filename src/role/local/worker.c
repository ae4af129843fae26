/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker: a process that became one user and does what touches that user's files. One fiber
 * a task; the blocking part on helper threads, so that many file syncs are under way at once.
 */
#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/map.h"
#include "ipc/channel.h"
#include "process/process.h"
#include "role/local/work.h"

enum { THREADS = 32 };

static struct {
	struct channel *parent;
	struct map files; /* by number, to struct file */
	size_t running;
} worker;

/* An open file of the spool; closed when the parent says so and no task reads it. */
struct file {
	int fd;
	unsigned users;
	bool is_done;
};

/* One message from the parent with memory of its own. */
struct task {
	struct message m;
	struct buf frame; /* what the strings of `m` point into */
	struct work_content content;
	struct file *file;
	struct work_result result;
};

static struct str file_key(const uint64_t *number)
{
	return str_n((const char *)number, sizeof(*number));
}

static void file_release(struct file *f)
{
	if (!f->is_done || f->users > 0)
		return;
	close(f->fd);
	free(f);
}

static void file_done(struct file *f)
{
	f->is_done = true;
	file_release(f);
}

static void add_file(const struct message *m)
{
	struct file *f = mem_alloc(sizeof(*f)), *old;

	f->fd = m->fd;
	old = map_set(&worker.files, file_key(&m->work_file.file), f);
	if (old)
		file_done(old);
}

static void remove_file(const struct message *m)
{
	struct file *f = map_remove(&worker.files, file_key(&m->work_file_done.file));

	if (f)
		file_done(f);
}

/* On a helper thread. */
static void work_on_mailbox(struct task *t)
{
	const struct message_work_mailbox *m = &t->m.work_mailbox;

	if (m->loop.len > 0 && content_was_delivered_to(&t->content, m->loop) == 1)
		work_say(&t->result, "5.4.6", "mail forwarding loop for %.*s", STR_ARG(m->loop));
	else if (str_ends(m->path, STR("/")))
		work_maildir(m, &t->content, &t->result);
	else
		work_mbox(m, &t->content, &t->result);
}

static void work_on(void *arg)
{
	struct task *t = arg;

	if (t->m.type == MESSAGE_WORK_MAILBOX)
		work_on_mailbox(t);
	else if (t->m.type == MESSAGE_WORK_COMMAND)
		work_command(&t->m.work_command, &t->content, &t->result);
	else
		work_read(&t->m.work_read, &t->result);
}

/* Sets the content up; false when the file is not here. */
static bool find_content(struct task *t)
{
	const struct message *m = &t->m;
	uint64_t number;

	if (m->type == MESSAGE_WORK_READ)
		return true;
	number = m->type == MESSAGE_WORK_MAILBOX ? m->work_mailbox.file : m->work_command.file;
	t->file = map_find(&worker.files, file_key(&number));
	if (!t->file)
		return false;
	t->file->users++;
	if (m->type == MESSAGE_WORK_MAILBOX)
		t->content = (struct work_content){t->file->fd, m->work_mailbox.content_at, m->work_mailbox.content_size};
	else
		t->content = (struct work_content){t->file->fd, m->work_command.content_at, m->work_command.content_size};
	return true;
}

static uint64_t token_of(const struct message *m)
{
	return m->type == MESSAGE_WORK_MAILBOX   ? m->work_mailbox.token
	       : m->type == MESSAGE_WORK_COMMAND ? m->work_command.token
	                                         : m->work_read.token;
}

static void run_task(void *arg) WAITS;
static void run_task(void *arg)
{
	struct task *t = arg;
	struct message answer = {.type = MESSAGE_WORK_DONE};

	work_result_init(&t->result);
	if (find_content(t))
		(void)fiber_work(work_on, t);
	else
		work_say(&t->result, "4.3.0", "the content of the message is not open here");
	answer.work_done.token = token_of(&t->m);
	answer.work_done.status = (uint8_t)t->result.status;
	answer.work_done.dsn = str_of(t->result.dsn);
	answer.work_done.text = buf_str(&t->result.text);
	answer.work_done.error = (uint32_t)t->result.error;
	answer.work_done.data = buf_str(&t->result.data);
	/* Without a parent nobody waits for the answer; the mail is delivered once more later. */
	(void)!channel_send(worker.parent, &answer);
	work_result_done(&t->result);
	if (t->file) {
		t->file->users--;
		file_release(t->file);
	}
	buf_done(&t->frame);
	free(t);
	worker.running--;
}

static void start_task(const struct message *m)
{
	struct task *t = mem_alloc(sizeof(*t));
	struct str rest;

	/* Encoding once more is the copy that owns its strings. */
	t->frame = BUF_INIT(MESSAGE_SIZE_MAX + 1024);
	message_encode(&t->frame, m);
	rest = buf_str(&t->frame);
	if (message_decode(&rest, &t->m) != 0)
		die("a message does not survive its encoding");
	worker.running++;
	fiber_start("task", run_task, t);
}

static void serve(void *arg) WAITS;
static void serve(void *arg)
{
	struct message m;

	while (channel_recv(worker.parent, INSTANT_NEVER, &m) == 0) {
		switch (m.type) {
		case MESSAGE_WORK_FILE:
			add_file(&m);
			break;
		case MESSAGE_WORK_FILE_DONE:
			remove_file(&m);
			break;
		case MESSAGE_WORK_MAILBOX:
		case MESSAGE_WORK_COMMAND:
		case MESSAGE_WORK_READ:
			start_task(&m);
			break;
		default:
			if (m.fd >= 0)
				close(m.fd);
			break;
		}
	}
	/* The parent is gone or wants no more: finish what is under way. */
	while (worker.running > 0)
		if (fiber_sleep(duration_ms(50)) != 0)
			break;
	loop_stop();
}

/* For good: nothing of root remains. */
static int become(unsigned long uid, unsigned long gid)
{
	gid_t group = (gid_t)gid;

	if (geteuid() != 0)
		return uid == geteuid() ? 0 : -EPERM;
	if (setgroups(1, &group) != 0 || setresgid(group, group, group) != 0 ||
	    setresuid((uid_t)uid, (uid_t)uid, (uid_t)uid) != 0)
		return -errno;
	return uid == 0 || setuid(0) != 0 ? 0 : -EPERM;
}

int worker_main(char **argv)
{
	unsigned long long uid, gid;

	if (str_parse_u64(str_of(argv[2]), &uid) != 0 || str_parse_u64(str_of(argv[3]), &gid) != 0)
		return 2;
	if (become((unsigned long)uid, (unsigned long)gid) != 0)
		return 3;
	/* Other programs of this user must not look into us: we hold files of the spool. */
	(void)prctl(PR_SET_DUMPABLE, 0);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGCHLD, SIG_DFL);
	umask(077);
	loop_init();
	channel_loop_init();
	fiber_work_set_threads(THREADS);
	worker.parent = channel_new(PROCESS_CONTROL_FD);
	fiber_start("serve", serve, NULL);
	loop_run();
	return 0;
}
