/* SPDX-License-Identifier: Apache-2.0 */
/*
 * postfix: starts, stops and asks after the mail system. A verb is a row of the table
 * below; what each prints and how it exits follows Postfix, whose scripts people have.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "cmd/command_log.h"
#include "cmd/commands.h"
#include "cmd/libexec.h"
#include "cmd/trial.h"
#include "config/config.h"
#include "process/problems.h"
#include "process/process.h"

enum { STOP_WAIT_S = 45, NEW_LOG_WAIT_S = 1 };

struct instance {
	struct str dir;
	struct config *config;
	const struct view *view;
};

/* --- the running master --------------------------------------------------------------- */

/* The number in the pid file while a master holds the write lock on it; 0 when none does. */
static pid_t running_master(const struct instance *in)
{
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
	struct buf path = BUF_INIT(4096);
	char text[32] = "";
	int fd;
	pid_t pid = 0;

	buf_addf(&path, "%.*s/" PID_FILE, STR_ARG(view_get(in->view, STR("queue_directory"))));
	fd = open(buf_cstr(&path), O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && !fcntl(fd, F_OFD_GETLK, &lock) && lock.l_type == F_WRLCK && read(fd, text, sizeof(text) - 1) > 0)
		pid = (pid_t)strtol(text, NULL, 10);
	if (fd >= 0)
		close(fd);
	buf_done(&path);
	return pid;
}

static int not_running(void)
{
	log_fatal("the Postfix mail system is not running");
	return 1;
}

/* Sends the signal to the running master, with a value. Returns an exit status. */
static int signal_master(const struct instance *in, int number, int value, const char *text)
{
	pid_t pid = running_master(in);

	if (!pid)
		return not_running();
	log_info("%s", text);
	if (sigqueue(pid, number, (union sigval){.sival_int = value})) {
		log_fatal("signal master, process %d: %s", (int)pid, strerror(errno));
		return 1;
	}
	return 0;
}

/* --- configuration ---------------------------------------------------------------------- */

/* What the text alone shows, and when that is good, what opening everything shows. */
static int count_errors(const struct instance *in)
{
	int errors = problems_log(in->config);

	return errors ? errors : trial_run(in->config);
}

static int refuse_errors(const struct instance *in, const char *consequence)
{
	int errors = count_errors(in);

	if (!errors)
		return 0;
	log_fatal("the configuration in %.*s has %d error%s; %s", STR_ARG(in->dir), errors, errors == 1 ? "" : "s", consequence);
	return 1;
}

/* --- start -------------------------------------------------------------------------------- */

static int find_master(struct buf *to)
{
	if (libexec_find(to)) {
		log_fatal("the master program is not beside this one; set POSTRIDER_LIBEXEC to the folder that holds it");
		return -ENOENT;
	}
	buf_add(to, STR("/master"));
	return 0;
}

/* True when master said that it serves. */
static bool wait_ready(int fd)
{
	char text[16];
	ssize_t size;

	do
		size = read(fd, text, sizeof(text));
	while (size < 0 && errno == EINTR);
	return size > 0;
}

static void run_master(const struct instance *in, char *master, bool has_been_checked, int notify_fd)
{
	char number[16];
	char *dir = str_cstr(in->dir);

	snprintf(number, sizeof(number), "%d", notify_fd);
	setsid();
	execl(master, master, "-c", dir, "-n", number, has_been_checked ? "-k" : NULL, (char *)NULL);
	log_fatal("%s: %s", master, strerror(errno));
	_exit(1);
}

static int start_and_wait(const struct instance *in, char *master, bool has_been_checked)
{
	int fds[2], status;
	bool is_ready;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC)) {
		log_fatal("pipe: %s", strerror(errno));
		return 1;
	}
	log_info("starting the Postfix mail system");
	pid = fork();
	if (pid < 0) {
		log_fatal("fork: %s", strerror(errno));
		return 1;
	}
	if (pid == 0) {
		fcntl(fds[1], F_SETFD, 0);
		run_master(in, master, has_been_checked, fds[1]);
	}
	close(fds[1]);
	is_ready = wait_ready(fds[0]);
	close(fds[0]);
	if (is_ready)
		return 0;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	log_fatal("the mail system did not start");
	return 1;
}

static int check_not_running(const struct instance *in)
{
	if (!running_master(in))
		return 0;
	log_fatal("the Postfix mail system is already running");
	return 1;
}

static int start(const struct instance *in, bool has_been_checked)
{
	struct buf master = BUF_INIT(4096);
	int status = 1;

	if (!check_not_running(in) && !find_master(&master))
		status = start_and_wait(in, master.ptr, has_been_checked);
	buf_done(&master);
	return status;
}

/* Without looking into the tables, keys and restrictions: master itself refuses what cannot be read. */
static int run_quick_start(struct instance *in)
{
	return start(in, false);
}

static int run_start(struct instance *in)
{
	return refuse_errors(in, "nothing was started") ? 1 : start(in, true);
}

static int run_start_fg(struct instance *in)
{
	struct buf master = BUF_INIT(4096);
	char *dir = str_cstr(in->dir);

	if (refuse_errors(in, "nothing was started") || check_not_running(in) || find_master(&master))
		return 1;
	log_flush();
	execl(master.ptr, master.ptr, "-f", "-k", "-c", dir, (char *)NULL);
	log_fatal("%s: %s", master.ptr, strerror(errno));
	return 1;
}

/* --- the other verbs ------------------------------------------------------------------------ */

static int wait_stopped(const struct instance *in)
{
	struct instant deadline = clock_deadline(duration_s(STOP_WAIT_S));

	while (running_master(in)) {
		struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};

		if (!instant_is_before(clock_now(), deadline)) {
			log_fatal("the mail system still runs after %d s; `postfix abort` ends it at once", STOP_WAIT_S);
			return 1;
		}
		nanosleep(&pause, NULL);
	}
	return 0;
}

static int run_stop(struct instance *in)
{
	int status = signal_master(in, SIGTERM, 0, "stopping the Postfix mail system");

	return status ? status : wait_stopped(in);
}

static int run_abort(struct instance *in)
{
	int status = signal_master(in, SIGINT, 0, "aborting the Postfix mail system");

	return status ? status : wait_stopped(in);
}

static int run_reload(struct instance *in)
{
	if (!running_master(in))
		return not_running();
	if (refuse_errors(in, "the running server keeps the one it has"))
		return 1;
	return signal_master(in, SIGHUP, RELOAD_CHECKED, "refreshing the Postfix mail system");
}

static int run_status(struct instance *in)
{
	pid_t pid = running_master(in);

	if (!pid) {
		log_info("the Postfix mail system is not running");
		return 1;
	}
	log_info("the Postfix mail system is running: PID: %d", (int)pid);
	return 0;
}

static int run_check(struct instance *in)
{
	return count_errors(in) > 0;
}

static int run_flush(struct instance *in)
{
	char *dir = str_cstr(in->dir);

	if (!running_master(in))
		return not_running();
	execl("/proc/self/exe", "postqueue", "-c", dir, "-f", (char *)NULL);
	log_fatal("postqueue: %s", strerror(errno));
	return 1;
}

static int compress_log(const struct instance *in, char *path)
{
	char *program = str_cstr(view_get(in->view, STR("maillog_file_compressor")));
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		execlp(program, program, path, (char *)NULL);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pid < 0 || status)
		log_warn("%s %s failed; the rotated log stays as it is", program, path);
	free(program);
	return pid < 0 || status;
}

static void add_rotated_name(const struct instance *in, struct buf *to, struct str path)
{
	char *suffix = str_cstr(view_get(in->view, STR("maillog_file_rotate_suffix")));
	char stamp[128] = "";
	time_t now = time(NULL);
	struct tm tm;

	localtime_r(&now, &tm);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the format is the operator's own */
	(void)strftime(stamp, sizeof(stamp), suffix, &tm);
#pragma GCC diagnostic pop
	buf_addf(to, "%.*s.%s", STR_ARG(path), stamp);
	free(suffix);
}

static int run_logrotate(struct instance *in)
{
	struct str file = view_get(in->view, STR("maillog_file"));
	struct buf to = BUF_INIT(4096);
	char *path = str_cstr(file);
	pid_t pid = running_master(in);
	int status = 1;

	add_rotated_name(in, &to, file);
	if (!file.len || str_starts(file, STR("/dev/")))
		log_fatal("'postfix logrotate' needs a maillog_file that is a file; it is \"%s\"", path);
	else if (rename(path, buf_cstr(&to)))
		log_fatal("rename %s to %s: %s", path, buf_cstr(&to), strerror(errno));
	else if (pid && kill(pid, SIGUSR1))
		log_fatal("signal master, process %d: %s", (int)pid, strerror(errno));
	else {
		/* Until all processes have heard of the new file they write to the old one, and the compressor removes that. */
		if (pid)
			sleep(NEW_LOG_WAIT_S);
		status = compress_log(in, to.ptr);
	}
	buf_done(&to);
	free(path);
	return status;
}

static int run_nothing(struct instance *in)
{
	log_info("nothing to do: `postfix start` gives folders their owners and modes, and any configuration is used as it is");
	return 0;
}

/* --- the command ------------------------------------------------------------------------------ */

static const struct verb {
	const char *name;
	int (*run)(struct instance *in);
	const char *brief;
} verbs[] = {
	{"start", run_start, "start the mail system; returns when it serves"},
	{"start-fg", run_start_fg, "the same in the foreground, as containers want it"},
	{"stop", run_stop, "finish what is under way, then end"},
	{"abort", run_abort, "end at once"},
	{"reload", run_reload, "use the changed configuration; sessions go on"},
	{"check", run_check, "show every problem of the configuration"},
	{"status", run_status, "exit status 0 if it runs"},
	{"flush", run_flush, "try to deliver all deferred mail now"},
	{"logrotate", run_logrotate, "start a new maillog_file and compress the old one"},
	{"drain", run_stop, "the same as stop"},
	{"quick-start", run_quick_start, NULL},
	{"quick-stop", run_stop, NULL},
	{"set-permissions", run_nothing, NULL},
	{"upgrade-configuration", run_nothing, NULL},
};

static int usage(void)
{
	fprintf(stderr, "usage: postfix [-c config_dir] [-Dv] command\n\n");
	for (size_t i = 0; i < COUNT_OF(verbs); i++)
		if (verbs[i].brief)
			fprintf(stderr, "  %-10s %s\n", verbs[i].name, verbs[i].brief);
	return 1;
}

static int run_verb(struct str dir, const char *name)
{
	for (size_t i = 0; i < COUNT_OF(verbs); i++) {
		struct instance in = {.dir = dir};
		int status;

		if (strcmp(verbs[i].name, name))
			continue;
		in.config = config_load(dir, NULL, 0);
		in.view = config_main_view(in.config);
		command_log_open(in.view);
		status = verbs[i].run(&in);
		log_flush();
		config_free(in.config);
		return status;
	}
	log_error("unknown command: '%s'. Usage: postfix start (or stop, reload, abort, flush, check, status, ...)", name);
	return 1;
}

int cmd_postfix(int argc, char **argv)
{
	const char *dir = NULL;
	int option;

	while ((option = getopt(argc, argv, "c:Dv")) != -1) {
		if (option == 'c')
			dir = optarg;
		else if (option == '?')
			return usage();
	}
	if (optind >= argc)
		return usage();
	log_set_tag(STR("postfix/postfix-script"));
	return run_verb(command_config_dir(dir), argv[optind]);
}
