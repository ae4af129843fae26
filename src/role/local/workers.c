/* SPDX-License-Identifier: Apache-2.0 */
/* The parent's side of the workers: starting them, tasks and answers. */
#include "role/local/workers.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <unistd.h>

#include "base/map.h"
#include "process/process.h"

enum { WORKERS_MAX = 200, ANSWER_TIME_S = 7200 };

struct worker {
	struct list link; /* in `all`, least recently used first */
	uid_t uid;
	gid_t gid;
	char *root; /* "" for the system's */
	struct channel *channel;
	struct fiber *fiber; /* hears its answers; cancelled to let it go */
	struct map tasks;    /* by token, to struct task */
	struct map files;    /* the content files it knows, by number, to struct content_file */
	bool is_gone;
};

/* A question on its way; lies on the stack of the fiber that asks. */
struct task {
	struct wait_list answered;
	struct work_answer *answer;
	struct arena *arena;
	bool is_answered;
};

static struct {
	struct list all;
	size_t count;
	uint64_t last_token;
	uint64_t last_file;
	const char *program;
	bool is_open;
} pool;

extern char **environ;

static struct str number_key(const uint64_t *number)
{
	return str_n((const char *)number, sizeof(*number));
}

static void pool_open(void)
{
	if (pool.is_open)
		return;
	list_init(&pool.all);
	/* Nobody waits for workers: their channels tell when they end. */
	(void)signal(SIGCHLD, SIG_IGN);
	pool.is_open = true;
}

void workers_set_program(const char *path)
{
	pool.program = path;
}

struct content_file *content_file_new(int fd)
{
	struct content_file *f = mem_alloc(sizeof(*f));

	f->number = ++pool.last_file;
	f->fd = fd;
	f->users = 1;
	return f;
}

void content_file_hold(struct content_file *f)
{
	f->users++;
}

void content_file_release(struct content_file *f)
{
	if (--f->users > 0)
		return;
	pool_open();
	LIST_EACH(&pool.all, it) {
		struct worker *w = LIST_ENTRY(it, struct worker, link);
		struct message m = {.type = MESSAGE_WORK_FILE_DONE, .work_file_done = {.file = f->number}};

		if (map_remove(&w->files, number_key(&f->number)))
			(void)!channel_send(w->channel, &m);
	}
	close(f->fd);
	free(f);
}

static void fail(struct work_answer *answer, const char *text)
{
	*answer = (struct work_answer){.status = DELIVERY_DEFERRED, .dsn = STR("4.3.0"), .text = str_of(text), .error = EIO};
}

static void finish_task(struct task *t)
{
	t->is_answered = true;
	wait_list_wake_all(&t->answered);
}

static void take_answer(struct worker *w, const struct message_work_done *d)
{
	struct task *t = map_remove(&w->tasks, number_key(&d->token));

	if (!t)
		return;
	*t->answer = (struct work_answer){
		.status = d->status < DELIVERY_STATUS_COUNT ? (enum delivery_status)d->status : DELIVERY_DEFERRED,
		.dsn = arena_str(t->arena, d->dsn),
		.text = arena_str(t->arena, d->text),
		.error = (int)d->error,
		.data = arena_str(t->arena, d->data),
	};
	finish_task(t);
}

/* The worker died or was let go: whoever still waits is told to try again later. */
static void bury(struct worker *w)
{
	size_t at = 0;
	struct str key;
	void *value;

	while (map_next(&w->tasks, &at, &key, &value)) {
		struct task *t = value;

		fail(t->answer, "the delivery process of this user ended unexpectedly");
		finish_task(t);
	}
	if (!w->is_gone) {
		list_remove(&w->link);
		pool.count--;
	}
	channel_free(w->channel);
	map_done(&w->tasks);
	map_done(&w->files);
	free(w->root);
	free(w);
}

static void hear(void *arg) WAITS;
static void hear(void *arg)
{
	struct worker *w = arg;
	struct message m;

	while (channel_recv(w->channel, INSTANT_NEVER, &m) == 0)
		if (m.type == MESSAGE_WORK_DONE)
			take_answer(w, &m.work_done);
	bury(w);
}

/* posix_spawn() with the channel at PROCESS_CONTROL_FD. */
static int spawn(const struct worker *w, int fd)
{
	pid_t pid;
	char uid_text[24], gid_text[24];
	char *argv[] = {(char *)(uintptr_t) "local", (char *)(uintptr_t) "worker", uid_text, gid_text, w->root, NULL};
	posix_spawn_file_actions_t actions;
	int err;

	snprintf(uid_text, sizeof(uid_text), "%lu", (unsigned long)w->uid);
	snprintf(gid_text, sizeof(gid_text), "%lu", (unsigned long)w->gid);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fd, PROCESS_CONTROL_FD);
	posix_spawn_file_actions_addclosefrom_np(&actions, PROCESS_CONTROL_FD + 1);
	err = posix_spawn(&pid, pool.program ? pool.program : "/proc/self/exe", &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return -err;
}

static int start_worker(const struct identity *who, struct worker **ret_worker)
{
	struct worker *w;
	int fds[2], high, err = channel_socketpair(fds);

	if (err)
		return err;
	w = mem_alloc(sizeof(*w));
	w->uid = who->uid;
	w->gid = who->gid;
	w->root = str_cstr(who->root);
	high = fcntl(fds[1], F_DUPFD_CLOEXEC, 10);
	close(fds[1]);
	err = high < 0 ? -errno : spawn(w, high);
	if (high >= 0)
		close(high);
	if (err) {
		close(fds[0]);
		free(w->root);
		free(w);
		return err;
	}
	w->channel = channel_new(fds[0]);
	list_add(&pool.all, &w->link);
	pool.count++;
	w->fiber = fiber_start("worker", hear, w);
	*ret_worker = w;
	return 0;
}

/* Lets go of the one that was idle longest. Its fiber ends when the child has. */
static void drop_idle_worker(void)
{
	LIST_EACH(&pool.all, it) {
		struct worker *w = LIST_ENTRY(it, struct worker, link);

		if (map_count(&w->tasks) > 0)
			continue;
		list_remove(&w->link);
		pool.count--;
		w->is_gone = true;
		fiber_cancel(w->fiber);
		return;
	}
}

static int find_worker(const struct identity *who, struct worker **ret_worker)
{
	pool_open();
	LIST_EACH(&pool.all, it) {
		struct worker *w = LIST_ENTRY(it, struct worker, link);

		if (w->uid != who->uid || w->gid != who->gid || !str_eq(str_of(w->root), who->root))
			continue;
		list_remove(&w->link);
		list_add(&pool.all, &w->link);
		*ret_worker = w;
		return 0;
	}
	if (pool.count >= WORKERS_MAX)
		drop_idle_worker();
	if (pool.count >= WORKERS_MAX)
		return -EAGAIN;
	return start_worker(who, ret_worker);
}

static int give_file(struct worker *w, struct content_file *f)
{
	struct message m = {.type = MESSAGE_WORK_FILE, .fd = f->fd, .work_file = {.file = f->number}};
	int err;

	if (map_find(&w->files, number_key(&f->number)))
		return 0;
	err = channel_send(w->channel, &m);
	if (!err)
		map_set(&w->files, number_key(&f->number), f);
	return err;
}

static void set_names(struct message *m, uint64_t token, uint64_t file)
{
	if (m->type == MESSAGE_WORK_MAILBOX) {
		m->work_mailbox.token = token;
		m->work_mailbox.file = file;
	} else if (m->type == MESSAGE_WORK_COMMAND) {
		m->work_command.token = token;
		m->work_command.file = file;
	} else {
		m->work_read.token = token;
	}
}

/* What root alone can do. False, with *ret_who who does it, when that is not us. */
static bool may_become(const struct identity *who, struct identity *ret_who, struct arena *a, struct work_answer *answer)
{
	*ret_who = *who;
	if (geteuid() == 0)
		return true;
	ret_who->gid = getegid();
	if (who->uid == geteuid() && who->root.len == 0)
		return true;
	fail(answer, "");
	answer->text = who->uid != geteuid()
	                       ? arena_printf(a, "cannot deliver as user id %lu: not started by root", (unsigned long)who->uid)
	                       : arena_printf(a, "cannot change root to %.*s: not started by root", STR_ARG(who->root));
	return false;
}

void workers_run(const struct identity *who, struct message *m, struct content_file *file, struct arena *a,
                 struct work_answer *ret_answer)
{
	struct task t = {.answer = ret_answer, .arena = a};
	uint64_t token = ++pool.last_token;
	struct identity as;
	struct worker *w;
	int err;

	if (!may_become(who, &as, a, ret_answer))
		return;
	err = find_worker(&as, &w);
	if (!err && file)
		err = give_file(w, file);
	if (!err) {
		set_names(m, token, file ? file->number : 0);
		err = channel_send(w->channel, m);
	}
	if (err) {
		fail(ret_answer, "");
		ret_answer->text = arena_printf(a, "cannot start a delivery process: %s", strerror(-err));
		return;
	}
	wait_list_init(&t.answered);
	map_set(&w->tasks, number_key(&token), &t);
	while (!t.is_answered) {
		err = wait_list_wait(&t.answered, clock_deadline(duration_s(ANSWER_TIME_S)));
		if (err && !t.is_answered) {
			/* `w` may be gone, but then the task was answered. */
			map_remove(&w->tasks, number_key(&token));
			fail(ret_answer, "the delivery process of this user does not answer");
			return;
		}
	}
}

void workers_done(void)
{
	pool_open();
	LIST_EACH(&pool.all, it)
		fiber_cancel(LIST_ENTRY(it, struct worker, link)->fiber);
}
