/* SPDX-License-Identifier: Apache-2.0 */
/* Master's own life: set-up, signals, supervision, stop. */
#include "role/master/master.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "ipc/client_counts.h"
#include "process/problems.h"

enum { STOP_BOUND_S = 30 };

/* --- signals ----------------------------------------------------------------------- */

/* Asked a second time, or in a hurry, it does not wait for anybody's work. */
static void stop(struct master *m, bool is_orderly)
{
	if (m->is_stopping)
		is_orderly = false;
	m->is_stopping = true;
	instances_stop(m);
	if (!is_orderly)
		instances_kill(m, SIGKILL);
	wait_list_wake_all(&m->changed);
}

static void reopen_log(struct master *m)
{
	struct buf why = BUF_INIT(4096);

	if (log_sink_open(m, m->config, &why))
		log_warn("%s", buf_cstr(&why));
	else
		instances_send_log(m);
	buf_done(&why);
}

static void on_signal(struct master *m, const struct signalfd_siginfo *info)
{
	int number = (int)info->ssi_signo;

	switch (number) {
	case SIGCHLD:
		instances_reap(m);
		break;
	case SIGHUP:
		reopen_log(m);
		m->has_been_checked = info->ssi_code == SI_QUEUE && info->ssi_int == RELOAD_CHECKED;
		m->wants_reload = true;
		wait_list_wake_all(&m->changed);
		break;
	case SIGUSR1: /* the log was rotated */
		reopen_log(m);
		break;
	default: /* SIGTERM stops in order, SIGINT at once */
		log_info("terminating on signal %d", number);
		stop(m, number == SIGTERM);
	}
}

static const int handled_signals[] = {SIGCHLD, SIGHUP, SIGTERM, SIGINT, SIGUSR1};

static int open_signals(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	for (size_t i = 0; i < COUNT_OF(handled_signals); i++)
		sigaddset(&set, handled_signals[i]);
	sigprocmask(SIG_SETMASK, &set, NULL);
	return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static void read_signals(void *arg)
{
	struct master *m = arg;
	struct watch w;
	int fd = open_signals();

	if (fd < 0)
		die("signalfd: %s", strerror(errno));
	watch_init(&w, fd);
	for (;;) {
		struct signalfd_siginfo info;

		if (read(fd, &info, sizeof(info)) == sizeof(info))
			on_signal(m, &info);
		else if (watch_wait(&w, WATCH_READ, INSTANT_NEVER))
			break;
	}
	watch_done(&w);
	close(fd);
}

/* --- supervision --------------------------------------------------------------------- */

static void supervise(void *arg)
{
	struct master *m = arg;
	struct instant stop_at = INSTANT_NEVER;

	for (;;) {
		struct instant next = slots_fill(m);

		instances_advance(m);
		instances_forget(m);
		if (m->is_stopping && list_is_empty(&m->instances))
			break;
		if (m->is_stopping && stop_at.ns == INSTANT_NEVER.ns)
			stop_at = clock_deadline(duration_s(STOP_BOUND_S));
		if (m->is_stopping && !instant_is_before(clock_now(), stop_at)) {
			log_warn("some processes did not finish within %d s; killing them", STOP_BOUND_S);
			instances_kill(m, SIGKILL);
			stop_at = clock_deadline(duration_s(STOP_BOUND_S));
		}
		if (wait_list_wait(&m->changed, instant_is_before(stop_at, next) ? stop_at : next) == -ECANCELED)
			break;
	}
	log_flush();
	loop_stop();
}

/* Reloads and changed tables, one after the other, and not more often than once a second. */
static void replace_on_demand(struct master *m)
{
	for (;;) {
		uint32_t roles = m->replace_roles;

		if (!m->wants_reload && !roles) {
			if (wait_list_wait(&m->changed, INSTANT_NEVER) == -ECANCELED)
				return;
			continue;
		}
		if (m->is_stopping)
			return;
		m->replace_roles = 0;
		if (m->wants_reload) {
			m->wants_reload = false;
			replace_for_reload(m);
		} else {
			replace_for_tables(m, roles);
		}
		if (fiber_sleep(duration_s(1)))
			return;
	}
}

/* --- start ---------------------------------------------------------------------------- */

static void leave_terminal(struct master *m)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	log_to_stderr(false);
	if (m->is_foreground || null < 0)
		return;
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	close(null);
}

static void tell_starter(struct master *m)
{
	static const char ready[] = "READY\n";

	if (m->notify_fd < 0)
		return;
	if (write(m->notify_fd, ready, sizeof(ready) - 1) < 0)
		log_warn("who started the mail system does not wait for it: %s", strerror(errno));
	close(m->notify_fd);
	m->notify_fd = -1;
}

static void run(void *arg)
{
	struct master *m = arg;
	struct buf why = BUF_INIT(8192);
	int err = replace_first(m, &why);

	if (err && !m->is_stopping) {
		log_fatal("%s", why.len ? buf_cstr(&why) : strerror(-err));
		m->has_failed = true;
		stop(m, false);
	}
	buf_done(&why);
	if (err)
		return;
	log_info("daemon started -- version %s, configuration %.*s", POSTRIDER_VERSION, STR_ARG(m->config_dir));
	m->is_serving = true;
	leave_terminal(m);
	tell_starter(m);
	replace_on_demand(m);
}

/* What whoever started us left open by chance: for as long as we ran, a script would wait for the end of its pipe. */
static void close_inherited(int notify_fd)
{
	int first = STDERR_FILENO + 1;

	if (notify_fd >= first) {
		fcntl(notify_fd, F_SETFD, FD_CLOEXEC);
		if (notify_fd > first)
			(void)close_range((unsigned)first, (unsigned)notify_fd - 1, 0);
		first = notify_fd + 1;
	}
	(void)close_range((unsigned)first, ~0U, 0);
}

/* Enough descriptors for the roles, which inherit the hard limit. */
static void raise_limits(void)
{
	struct rlimit limit = {.rlim_cur = 1 << 17, .rlim_max = 1 << 17};

	if (geteuid() == 0)
		(void)setrlimit(RLIMIT_NOFILE, &limit); /* some containers forbid it; then what they allow must do */
}

static int load(struct master *m, struct buf *why)
{
	m->config = config_load(m->config_dir, NULL, 0);
	log_sink_name(m->config);
	if (!config_has_errors(m->config) && m->has_been_checked)
		return 0;
	if (!problems_log(m->config))
		return 0;
	buf_addf(why, "the configuration in %.*s has errors; nothing was started", STR_ARG(m->config_dir));
	return -EINVAL;
}

static int set_up(struct master *m, struct buf *why)
{
	int err = load(m, why);

	if (!err)
		err = folders_make(m->config, why);
	if (!err)
		err = pid_file_take(m->config, m, why);
	if (!err)
		err = log_sink_open(m, m->config, why);
	if (!err)
		err = listeners_open(m, m->config, why);
	if (!err) {
		listeners_commit(m);
		err = endpoints_open(m, m->config, why);
	}
	if (!err)
		err = snapshot_make(m->config, &m->snapshot_fd, why);
	if (!err) {
		err = client_counts_create(&m->client_counts_fd, &m->client_counts);
		if (err)
			buf_addf(why, "no memory to count clients in: %s", strerror(-err));
	}
	return err;
}

static void flush_log(void *arg)
{
	log_flush();
}

int master_run(struct master *m)
{
	struct buf why = BUF_INIT(8192);
	int err;

	umask(022);
	close_inherited(m->notify_fd);
	raise_limits();
	list_init(&m->listeners);
	list_init(&m->instances);
	wait_list_init(&m->changed);
	err = set_up(m, &why);
	if (err) {
		log_fatal("%s", buf_cstr(&why));
		return 1;
	}
	loop_init();
	channel_loop_init();
	loop_add_hook(flush_log, NULL);
	slots_make(m);
	fiber_start("signals", read_signals, m);
	fiber_start("supervise", supervise, m);
	renewal_start(m);
	fiber_start("master", run, m);
	loop_run();
	log_flush();
	return m->has_failed;
}
