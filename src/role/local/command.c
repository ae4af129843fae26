/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delivery to a command: the message on its standard input, its exit status and its words as
 * the result. Simple commands run directly, others by /bin/sh -c.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "role/local/work.h"

enum { OUTPUT_MAX = 4096 };

/* sysexits(3), from 64 on. */
static const struct {
	const char *dsn;
	const char *text;
} exits[] = {
	{"5.3.0", "command line usage error"},  {"5.6.0", "data format error"},
	{"5.3.0", "cannot open input"},         {"5.1.1", "user unknown"},
	{"5.1.2", "host name unknown"},         {"5.3.0", "service unavailable"},
	{"5.3.0", "internal software error"},   {"4.3.0", "system resource problem"},
	{"5.3.0", "critical OS file missing"},  {"5.2.0", "can't create user output file"},
	{"5.3.0", "input/output error"},        {"4.3.0", "temporary failure"},
	{"5.5.0", "remote error in protocol"},  {"5.7.0", "permission denied"},
	{"5.3.5", "local configuration error"},
};

/* A running command. */
struct child {
	struct list link;
	pid_t pid;
	int output; /* what it says */
	struct instant deadline;
	struct buf said;
};

/* From their start until they are waited for: so long their ids are theirs. */
static struct {
	pthread_mutex_t lock;
	struct list children;
} running = {PTHREAD_MUTEX_INITIALIZER, {&running.children, &running.children}};

static bool needs_shell(struct str command)
{
	static const char *const builtins[] = {"if",   "while", "for",   "case",   "cd",  "exec",
	                                       "test", "set",   "umask", "ulimit", "exit"};
	struct str rest = command, word;

	if (str_find_any(command, "$`\"'\\;&|<>()*?[]{}~#!\n") < command.len || !str_next(&rest, " \t", &word))
		return true;
	for (size_t i = 0; i < COUNT_OF(builtins); i++)
		if (str_eq(word, str_of(builtins[i])))
			return true;
	return str_has(word, '=');
}

/* `words` point into `text`, a copy of the command. */
static void split_words(char *text, char **words)
{
	size_t count = 0;

	for (char *at = text; *at;) {
		while (*at == ' ' || *at == '\t')
			*at++ = '\0';
		if (!*at)
			break;
		words[count++] = at;
		while (*at && *at != ' ' && *at != '\t')
			at++;
	}
	words[count] = NULL;
}

static char **split_environment(char *text, size_t len)
{
	char **list = mem_alloc((len + 2) * sizeof(char *));
	size_t count = 0;

	for (size_t at = 0; at < len; at += strlen(text + at) + 1)
		list[count++] = text + at;
	return list;
}

/* The arguments of WORK_ARGV, pointing into `text`. */
static void split_arguments(char *text, size_t len, char **words)
{
	size_t count = 0;

	for (size_t at = 0; at < len; at += strlen(text + at) + 1)
		words[count++] = text + at;
	words[count] = NULL;
}

static int spawn(struct child *c, const struct message_work_command *m, int input, int output)
{
	char *command = str_cstr(m->command), *shell = str_cstr(m->shell), *folder = str_cstr(m->folder);
	char *environment = str_cstr(m->environment), **list = split_environment(environment, m->environment.len);
	/* Each takes two bytes of a command, one of its arguments; a shell has three. */
	char **words = mem_alloc((m->command.len + 4) * sizeof(char *));
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, ignored;
	int err;

	if (m->flags & WORK_ARGV) {
		split_arguments(command, m->command.len, words);
	} else if (m->shell.len > 0 || needs_shell(m->command)) {
		words[0] = m->shell.len > 0 ? shell : (char *)(uintptr_t) "/bin/sh";
		words[1] = (char *)(uintptr_t) "-c";
		words[2] = command;
	} else {
		split_words(command, words);
	}
	sigemptyset(&none);
	sigemptyset(&ignored);
	sigaddset(&ignored, SIGPIPE);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, input, 0);
	posix_spawn_file_actions_adddup2(&actions, output, 1);
	posix_spawn_file_actions_adddup2(&actions, output, 2);
	if (folder[0])
		posix_spawn_file_actions_addchdir_np(&actions, folder);
	posix_spawn_file_actions_addclosefrom_np(&actions, 3);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &ignored);
	err = posix_spawnp(&c->pid, words[0], &actions, &attr, words, list);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	free(words);
	free(list);
	free(environment);
	free(folder);
	free(shell);
	free(command);
	return -err;
}

/* Descriptors of the child must not be 0 to 2 here, or dup2() would mix them up. */
static int high_pipe(int ret_ends[2])
{
	int low[2], err = 0;

	if (pipe2(low, O_CLOEXEC) != 0)
		return -errno;
	for (size_t i = 0; i < 2; i++) {
		ret_ends[i] = fcntl(low[i], F_DUPFD_CLOEXEC, 10);
		if (ret_ends[i] < 0)
			err = -errno;
		close(low[i]);
	}
	for (size_t i = 0; err && i < 2; i++)
		if (ret_ends[i] >= 0)
			close(ret_ends[i]);
	return err;
}

/* The message is a file of its own: a command that does not read it all is no trouble. */
static int start(struct child *c, const struct message_work_command *m, int message)
{
	int out[2], err = high_pipe(out);

	if (err)
		return err;
	err = spawn(c, m, message, out[1]);
	close(out[1]);
	c->output = out[0];
	if (err)
		return err;
	pthread_mutex_lock(&running.lock);
	list_add(&running.children, &c->link);
	pthread_mutex_unlock(&running.lock);
	return 0;
}

/* 0 when it has not ended yet. */
static pid_t wait_for(struct child *c, int *ret_status)
{
	pid_t pid;

	pthread_mutex_lock(&running.lock);
	pid = waitpid(c->pid, ret_status, WNOHANG);
	if (pid == c->pid)
		list_remove(&c->link);
	pthread_mutex_unlock(&running.lock);
	return pid;
}

static int time_left_ms(const struct child *c)
{
	int64_t left = duration_between(clock_now(), c->deadline).ns / 1000000;

	return left < 0 ? 0 : left > 1000000 ? 1000000 : (int)left;
}

static void read_output(struct child *c)
{
	char bytes[1024];
	ssize_t got = read(c->output, bytes, sizeof(bytes));

	if (got <= 0 && !(got < 0 && (errno == EINTR || errno == EAGAIN))) {
		close(c->output);
		c->output = -1;
		return;
	}
	if (got > 0)
		buf_add_bytes(&c->said, bytes, size_min((size_t)got, c->said.max - c->said.len));
}

/* Hears what the command says until it closes its output. */
static int listen_to(struct child *c)
{
	while (c->output >= 0) {
		struct pollfd fd = {c->output, POLLIN, 0};

		if (poll(&fd, 1, time_left_ms(c)) == 0)
			return -ETIMEDOUT;
		if (fd.revents)
			read_output(c);
	}
	return 0;
}

/* Waits for the end with the time that is left. -ETIMEDOUT. */
static int reap(struct child *c, int *ret_status)
{
	for (;;) {
		pid_t pid = wait_for(c, ret_status);

		if (pid == c->pid)
			return 0;
		if (pid < 0 && errno != EINTR)
			return -errno;
		if (time_left_ms(c) == 0)
			return -ETIMEDOUT;
		(void)poll(NULL, 0, 5);
	}
}

static void kill_child(struct child *c)
{
	int status;

	/* It leads a session of its own; its children go with it. */
	(void)kill(-c->pid, SIGKILL);
	while (wait_for(c, &status) == 0)
		(void)poll(NULL, 0, 5);
}

/* "5.1.1 no such user": a command may choose its status by its words. */
static size_t dsn_length(struct str said)
{
	size_t at = 0;

	if (said.len < 5 || (said.ptr[0] != '2' && said.ptr[0] != '4' && said.ptr[0] != '5') || said.ptr[1] != '.')
		return 0;
	for (unsigned part = 0; part < 2; part++) {
		size_t digits = 0;

		for (at += part == 0 ? 2 : 1; at < said.len && ascii_is_digit(said.ptr[at]); at++)
			digits++;
		if (digits == 0 || digits > 3 || (part == 0 && (at >= said.len || said.ptr[at] != '.')))
			return 0;
	}
	return at < said.len && said.ptr[at] == ' ' ? at : 0;
}

/* One line of what it said. */
static struct str tidy_output(struct buf *said)
{
	struct str text = str_trim(buf_str(said));

	for (size_t i = 0; i < said->len; i++)
		if ((unsigned char)said->ptr[i] < ' ')
			said->ptr[i] = ' ';
	return text;
}

static void judge(struct child *c, const struct message_work_command *m, int status, struct work_result *r)
{
	struct str said = tidy_output(&c->said);
	size_t own = dsn_length(said);
	char dsn[8];
	int code;

	if (WIFSIGNALED(status)) {
		work_say(r, "4.3.0", "Command died with signal %d: \"%.*s\"%s%.*s", WTERMSIG(status), STR_ARG(m->command),
		         said.len ? ". Command output: " : "", STR_ARG(said));
		return;
	}
	code = WEXITSTATUS(status);
	if (code == 0) {
		work_say(r, "2.0.0", "delivered to command: %.*s", STR_ARG(m->command));
		return;
	}
	if (own > 0 && own < sizeof(dsn)) {
		snprintf(dsn, sizeof(dsn), "%.*s", (int)own, said.ptr);
		work_say(r, dsn, "%.*s", STR_ARG(str_trim(str_from(said, own))));
	} else if (code >= 64 && code < 64 + (int)COUNT_OF(exits)) {
		work_say(r, exits[code - 64].dsn, "%s%s%.*s", exits[code - 64].text, said.len ? ". Command output: " : "",
		         STR_ARG(said));
	} else {
		work_say(r, "5.3.0", "Command died with status %d: \"%.*s\"%s%.*s", code, STR_ARG(m->command),
		         said.len ? ". Command output: " : "", STR_ARG(said));
	}
}

static void run(struct child *c, const struct message_work_command *m, int message, struct work_result *r)
{
	int status = 0, err = start(c, m, message);

	if (err) {
		work_say(r, "4.3.0", "cannot run command \"%.*s\": %s", STR_ARG(m->command), strerror(-err));
		return;
	}
	err = listen_to(c);
	if (!err)
		err = reap(c, &status);
	if (err) {
		kill_child(c);
		work_say(r, "4.3.0", "Command time limit exceeded: \"%.*s\"", STR_ARG(m->command));
		return;
	}
	judge(c, m, status, r);
}

/* A descriptor above those of the child, open for reading from the start. */
static int message_file(const struct message_work_command *m, const struct work_content *c)
{
	struct copy_form form = {.line_end = m->line_end};
	int err, high, fd = memfd_create("mail", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	form.flags = (m->flags & WORK_QUOTE_FROM ? COPY_QUOTE_FROM : 0) | (m->flags & WORK_DOUBLE_DOTS ? COPY_DOUBLE_DOTS : 0) |
	             (m->flags & WORK_BLANK_LINE ? COPY_BLANK_LINE : 0);
	err = copy_content(fd, m->head, c, &form);
	if (!err && lseek(fd, 0, SEEK_SET) != 0)
		err = -errno;
	high = err ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 10);
	if (!err && high < 0)
		err = -errno;
	close(fd);
	return err ? err : high;
}

void work_command(const struct message_work_command *m, const struct work_content *c, struct work_result *r)
{
	struct child child = {.output = -1, .said = BUF_INIT(OUTPUT_MAX)};
	int message = message_file(m, c);

	child.deadline = clock_deadline(duration_s(m->time_limit > 0 ? m->time_limit : 1000));
	if (message < 0) {
		work_say_errno(r, -message, "cannot prepare the message for a command: %s", strerror(-message));
	} else {
		run(&child, m, message, r);
		close(message);
	}
	if (child.output >= 0)
		close(child.output);
	buf_done(&child.said);
}

void commands_signal(int signal_number)
{
	pthread_mutex_lock(&running.lock);
	LIST_EACH(&running.children, it)
		(void)kill(-LIST_ENTRY(it, struct child, link)->pid, signal_number);
	pthread_mutex_unlock(&running.lock);
}
