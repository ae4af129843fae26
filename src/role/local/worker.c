/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker: a process that became one user and does what touches that user's files. The blocking
 * part runs on helper threads. Mail of ordinary size to Maildirs is delivered in batches: whatever waits when a
 * batch begins goes along, so that the load decides how large they are. Everything else has a fiber and a thread of its own.
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

enum {
	THREADS = 32,
	BATCHES = 2,                 /* at once: one writes while the other waits for the disk */
	BATCH_MAX = 64,              /* deliveries in one */
	BATCH_CONTENT_MAX = 1 << 18, /* larger messages have a thread of their own */
	PATIENCE_MS = 100,           /* what waited so long gets another batch: the others may hang on a dead file system */
};

static struct {
	struct channel *parent;
	struct map files; /* by number, to struct file */
	size_t running;
	struct list maildirs; /* tasks that wait for a batch */
	size_t batches;
	uint64_t batches_begun;
	struct fiber *impatient; /* while tasks wait for a batch */
} worker;

/* An open file of the spool; closed when the parent says so and no task reads it. */
struct file {
	int fd;
	unsigned users;
	bool is_done;
};

/* One message from the parent with memory of its own. */
struct task {
	struct list link;
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

/* Some tasks and what is left of them for the file system. */
struct batch {
	struct task *tasks[BATCH_MAX];
	struct maildir_work works[BATCH_MAX];
	size_t count;
};

/* True, with the result said, when this mail was here before. */
static bool is_loop(struct task *t)
{
	struct str address = t->m.type == MESSAGE_WORK_COMMAND ? t->m.work_command.loop : t->m.work_mailbox.loop;

	if (address.len == 0 || content_was_delivered_to(&t->content, address) != 1)
		return false;
	work_say(&t->result, "5.4.6", "mail forwarding loop for %.*s", STR_ARG(address));
	return true;
}

/* On a helper thread. */
static void work_on_batch(void *arg)
{
	struct batch *b = arg;
	size_t count = 0;

	for (size_t i = 0; i < b->count; i++) {
		struct task *t = b->tasks[i];

		if (t->file && !is_loop(t))
			b->works[count++] = (struct maildir_work){&t->m.work_mailbox, &t->content, &t->result};
	}
	work_maildirs(b->works, count);
}

static bool is_maildir(const struct task *t)
{
	return t->m.type == MESSAGE_WORK_MAILBOX && str_ends(t->m.work_mailbox.path, STR("/"));
}

/* On a helper thread. */
static void work_on_mailbox(struct task *t)
{
	struct maildir_work alone = {&t->m.work_mailbox, &t->content, &t->result};

	if (is_maildir(t))
		work_maildirs(&alone, 1);
	else
		work_mbox(&t->m.work_mailbox, &t->content, &t->result);
}

static void work_on(void *arg)
{
	struct task *t = arg;

	if (t->m.type != MESSAGE_WORK_READ && is_loop(t))
		return;
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

/* What there is to know before the work: false, with the result said, when the content is not here. */
static bool prepare(struct task *t)
{
	work_result_init(&t->result);
	if (find_content(t))
		return true;
	work_say(&t->result, "4.3.0", "the content of the message is not open here");
	return false;
}

static void finish(struct task *t)
{
	struct message answer = {.type = MESSAGE_WORK_DONE};

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

static void run_task(void *arg) WAITS;
static void run_task(void *arg)
{
	struct task *t = arg;

	if (prepare(t))
		(void)fiber_work(work_on, t);
	finish(t);
}

static void take_batch(struct batch *b)
{
	size_t max = maildirs_share_commits() ? BATCH_MAX : 1;

	b->count = 0;
	while (b->count < max && !list_is_empty(&worker.maildirs)) {
		struct task *t = LIST_ENTRY(list_first(&worker.maildirs), struct task, link);

		list_remove(&t->link);
		(void)prepare(t);
		b->tasks[b->count++] = t;
	}
}

static void run_batches(void *unused) WAITS;
static void run_batches(void *unused)
{
	struct batch *b = mem_alloc(sizeof(*b));

	while (!list_is_empty(&worker.maildirs)) {
		worker.batches_begun++;
		take_batch(b);
		(void)fiber_work(work_on_batch, b);
		for (size_t i = 0; i < b->count; i++)
			finish(b->tasks[i]);
	}
	free(b);
	worker.batches--;
}

static void add_batch(void)
{
	worker.batches++;
	fiber_start("batch", run_batches, NULL);
}

static void lose_patience(void *unused) WAITS;
static void lose_patience(void *unused)
{
	while (!list_is_empty(&worker.maildirs)) {
		uint64_t begun = worker.batches_begun;

		if (fiber_sleep(duration_ms(PATIENCE_MS)) != 0)
			break;
		if (worker.batches_begun == begun && worker.batches < THREADS && !list_is_empty(&worker.maildirs))
			add_batch();
	}
	worker.impatient = NULL;
}

static void add_maildir(struct task *t)
{
	list_add(&worker.maildirs, &t->link);
	if (worker.batches < (maildirs_share_commits() ? BATCHES : THREADS))
		add_batch();
	else if (!worker.impatient)
		worker.impatient = fiber_start("impatient", lose_patience, NULL);
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
	if (is_maildir(t) && t->m.work_mailbox.content_size <= BATCH_CONTENT_MAX)
		add_maildir(t);
	else
		fiber_start("task", run_task, t);
}

/* The parent is gone or wants no more. Nobody hears how commands end, so that their mail comes again: they end now. */
static void finish_all(void) WAITS;
static void finish_all(void)
{
	enum { ROUND_MS = 50, KIND_ROUNDS = 40 };

	commands_signal(SIGTERM);
	for (unsigned rounds = 0; worker.running > 0 && fiber_sleep(duration_ms(ROUND_MS)) == 0; rounds++)
		if (rounds == KIND_ROUNDS)
			commands_signal(SIGKILL);
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
	finish_all();
	loop_stop();
}

/* For good: nothing of root remains. */
static int become(unsigned long uid, unsigned long gid, const char *root)
{
	gid_t group = (gid_t)gid;

	if (root[0] && (chroot(root) != 0 || chdir("/") != 0))
		return -errno;
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
	if (become((unsigned long)uid, (unsigned long)gid, argv[4]) != 0)
		return 3;
	/* Other programs of this user must not look into us: we hold files of the spool. */
	(void)prctl(PR_SET_DUMPABLE, 0);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGCHLD, SIG_DFL);
	umask(077);
	loop_init();
	channel_loop_init();
	fiber_work_set_threads(THREADS);
	list_init(&worker.maildirs);
	worker.parent = channel_new(PROCESS_CONTROL_FD);
	fiber_start("serve", serve, NULL);
	loop_run();
	return 0;
}
