/* SPDX-License-Identifier: Apache-2.0 */
/* The common beginning of every role: see process.h for the order of things. */
#include "process/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "process/sandbox.h"

enum { LOG_GATHER = 32 << 10, LOG_DELAY_MS = 20 };

/* A message that came before GO, kept with its descriptor and its one string. */
struct arrival {
	struct list link;
	struct message m;
	char *text;
};

static struct {
	struct process process;
	int log_fd;
	int exit_status;
} self = {.log_fd = -1};

static void give_up(struct process *p, struct str why)
{
	struct message m = {.type = MESSAGE_FAILED, .failed = {.why = why}};

	log_fatal("%.*s", STR_ARG(why));
	if (channel_send(p->master, &m))
		log_warn("master cannot be told");
	self.exit_status = 1;
	process_end(p);
}

void process_end(struct process *p)
{
	log_flush();
	/* What was queued for master and peers leaves in the hooks of this last round. */
	loop_stop();
}

void process_table_changed(struct process *p, struct str whose)
{
	struct message m = {.type = MESSAGE_TABLE_CHANGED, .table_changed = {.whose = whose}};

	if (channel_send(p->master, &m))
		log_warn("a table of %.*s changed, but master cannot be told", STR_ARG(whose));
}

static void open_log(int fd)
{
	log_open(fd >= 0 ? LOG_SINK_FD : LOG_SINK_SYSLOG, fd);
	if (self.log_fd >= 0)
		close(self.log_fd);
	self.log_fd = fd;
}

static void set_log_names(const struct process *p)
{
	struct buf tag = BUF_INIT(256);
	struct str name = view_get(config_main_view(p->config), STR("syslog_name"));

	buf_addf(&tag, "%.*s/%s", STR_ARG(name), p->rights->program);
	log_set_tag(buf_str(&tag));
	buf_done(&tag);
	log_set_facility(view_get(config_main_view(p->config), STR("syslog_facility")));
}

static int read_config(int fd, struct config **ret_config)
{
	struct stat st;
	void *bytes;
	int err;

	if (fstat(fd, &st) || st.st_size <= 0)
		return -EBADMSG;
	bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED)
		return -errno;
	err = config_from_snapshot(str_n(bytes, (size_t)st.st_size), ret_config);
	munmap(bytes, (size_t)st.st_size);
	return err;
}

/* The new configuration is in force from the next GO on. */
static int take_config(struct process *p, const struct message *m, struct buf *why)
{
	struct config *c, *old = p->config;
	int err = read_config(m->fd, &c);

	close(m->fd);
	if (err) {
		buf_addf(why, "the configuration of master cannot be read: %s", strerror(-err));
		return err;
	}
	p->config = c;
	if (!old)
		return 0;
	err = p->role->reconfigure ? p->role->reconfigure(p, old, why) : -ENOTSUP;
	if (err) {
		p->config = old;
		config_free(c);
		return err;
	}
	set_log_names(p);
	/* A log file comes as a descriptor; that there is none any more only the configuration tells. */
	if (!view_get(config_main_view(c), STR("maillog_file")).len)
		open_log(-1);
	return 0;
}

/* The folder that the role may write in, if it is one that may. */
static void add_own_folder(struct buf *path, const struct process *p, const struct view *v)
{
	if (p->rights->writes == WRITE_DATA)
		buf_add(path, view_get(v, STR("data_directory")));
	else
		buf_addf(path, "%.*s/%s", STR_ARG(view_get(v, STR("queue_directory"))), PROCESS_SPOOL_FOLDER);
}

/* Privileges go here; whatever follows runs as mail_owner in the sandbox. */
static int settle(struct process *p, struct buf *why)
{
	const struct view *v = config_main_view(p->config);
	struct buf folder = BUF_INIT(4096);
	char *owner;
	int err;

	set_log_names(p);
	sandbox_raise_file_limit();
	umask(077);
	if (p->role->prepare) {
		err = p->role->prepare(p, why);
		if (err)
			return err;
	}
	if (p->role->tls)
		p->role->tls->watch(p);
	if (!p->rights->keeps_root) {
		owner = str_cstr(view_get(v, STR("mail_owner")));
		err = sandbox_become(owner, why);
		free(owner);
		if (err)
			return err;
	}
	add_own_folder(&folder, p, v);
	err = sandbox_enter(p->rights, buf_cstr(&folder), why);
	buf_done(&folder);
	return err ? err : (p->role->start ? p->role->start(p, why) : 0);
}

static void give_listener(struct process *p, const struct message *m)
{
	struct str service = m->listener.service;
	size_t slash = str_find_last(service, '/');
	const struct service *s = config_find_service(p->config, str_cut(service, 0, slash), str_from(service, slash + 1));

	if (s && p->role->listener)
		p->role->listener(p, s, m->fd);
	else
		close(m->fd);
}

enum { STOP_PATIENCE_S = 5 };

static void lose_patience(void *arg) WAITS;
static void lose_patience(void *arg)
{
	struct process *p = arg;

	if (fiber_sleep(duration_s(STOP_PATIENCE_S)) == 0)
		p->role->give_up(p);
}

static void drain(struct process *p, bool is_stop)
{
	if (is_stop && !p->is_stopping && p->role->give_up)
		fiber_start("patience", lose_patience, p);
	p->is_stopping |= is_stop;
	if (p->is_draining)
		return;
	p->is_draining = true;
	if (p->role->drain)
		p->role->drain(p);
	else
		process_end(p);
}

/* What master sends once the role is at work. */
static void dispatch(struct process *p, const struct message *m)
{
	switch (m->type) {
	case MESSAGE_LISTENER:
		give_listener(p, m);
		break;
	case MESSAGE_CLIENTS:
		if (p->role->clients)
			p->role->clients(p, m->clients.column, m->fd);
		else
			close(m->fd);
		break;
	case MESSAGE_ENDPOINT:
		if (p->role->endpoint)
			p->role->endpoint(p, m->endpoint.name, m->fd);
		else
			close(m->fd);
		break;
	case MESSAGE_PEER:
		if (p->role->peer)
			p->role->peer(p, m->peer.role, m->peer.id, channel_new(m->fd));
		else
			close(m->fd);
		break;
	case MESSAGE_PEER_DRAINING:
		if (p->role->peer_draining)
			p->role->peer_draining(p, m->peer_draining.role, m->peer_draining.id);
		break;
	case MESSAGE_TLS_FILE:
		if (p->role->tls)
			p->role->tls->file(p, m->tls_file.path, m->fd);
		else
			close(m->fd);
		break;
	case MESSAGE_TLS_FILES_END:
		if (p->role->tls)
			p->role->tls->renew(p, m->tls_files_end.is_reporter);
		break;
	case MESSAGE_DRAIN:
		drain(p, m->drain.is_stop);
		break;
	default:
		if (m->fd >= 0)
			close(m->fd);
		log_warn("master sent %s at a wrong moment", message_name(m->type));
	}
}

static void keep(struct process *p, const struct message *m)
{
	struct arrival *a = mem_alloc(sizeof(*a));
	struct str *text = m->type == MESSAGE_LISTENER   ? &a->m.listener.service
	                   : m->type == MESSAGE_ENDPOINT ? &a->m.endpoint.name
	                                                 : NULL;

	a->m = *m;
	if (text) {
		a->text = str_cstr(*text);
		*text = str_of(a->text);
	}
	list_add(&p->waiting, &a->link);
}

static void dispatch_kept(struct process *p)
{
	LIST_EACH(&p->waiting, it) {
		struct arrival *a = LIST_ENTRY(it, struct arrival, link);

		list_remove(&a->link);
		dispatch(p, &a->m);
		free(a->text);
		free(a);
	}
}

static int go(struct process *p, const struct message *m, struct buf *why)
{
	struct message ready = {.type = MESSAGE_READY, .ready = {.generation = m->go.generation}};
	int err;

	if (!p->config) {
		buf_addf(why, "master sent no configuration");
		return -EPROTO;
	}
	p->generation = m->go.generation;
	p->rank = m->go.rank;
	if (!p->is_ready) {
		err = settle(p, why);
		if (err)
			return err;
		p->is_ready = true;
		dispatch_kept(p);
	}
	return channel_send(p->master, &ready);
}

/* An error ends a role that has not begun; one at work keeps what it has and says so. */
static void handle(struct process *p, const struct message *m)
{
	struct buf why = BUF_INIT(4096);
	int err = 0;

	if (m->type == MESSAGE_LOG_FILE)
		open_log(m->fd);
	else if (m->type == MESSAGE_TICKET_KEYS && p->role->tls)
		p->role->tls->ticket_keys(p, m->ticket_keys.keys);
	else if (m->type == MESSAGE_CONFIG)
		err = take_config(p, m, &why);
	else if (m->type == MESSAGE_GO)
		err = go(p, m, &why);
	else if (p->is_ready)
		dispatch(p, m);
	else
		keep(p, m);
	if (err && !why.len)
		buf_addf(&why, "start-up failed: %s", strerror(-err));
	if (err && !p->is_ready)
		give_up(p, buf_str(&why));
	else if (err)
		log_warn("the new configuration is not used: %s", buf_cstr(&why));
	buf_done(&why);
}

static void serve_master(void *arg)
{
	struct process *p = arg;
	struct message m;
	int err;

	while (!(err = channel_recv(p->master, INSTANT_NEVER, &m)))
		handle(p, &m);
	/* Without master nobody replaces or stops us; a new one starts new roles. What is not acknowledged is not ours. */
	if (err == -EBADMSG)
		log_fatal("master sent what is no message");
	process_end(p);
}

static void flush_log_later(struct timer *t)
{
	log_flush();
}

/*
 * Lines first, messages then: what another role does because of them stands below in the log. Other
 * lines wait for company, a write of many costs little more than a write of one.
 */
static void flush_log(void *arg)
{
	static struct timer later;

	if (channel_any_unsent() || log_gathered() >= LOG_GATHER)
		log_flush();
	else if (log_gathered() && !later.heap_at)
		timer_start(&later, clock_deadline(duration_ms(LOG_DELAY_MS)), flush_log_later);
}

static bool is_started_by_master(void)
{
	int type;
	socklen_t size = sizeof(type);

	return !getsockopt(PROCESS_CONTROL_FD, SOL_SOCKET, SO_TYPE, &type, &size) && type == SOCK_SEQPACKET;
}

static void set_signals(void)
{
	sigset_t none;

	/* Master tells over the channel what a terminal or a service manager would tell by a signal to the whole group. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

int process_main(const struct role *role, int argc, char **argv)
{
	struct process *p = &self.process;

	p->role = role;
	p->rights = rights_of(role->id);
	if (argc > 1 || !is_started_by_master()) {
		printf("%s: a process of Postrider %s; `postfix start` starts it.\n", p->rights->program, POSTRIDER_VERSION);
		return argc > 1 && !strcmp(argv[1], "--help") ? 0 : 1;
	}
	set_signals();
	fcntl(PROCESS_CONTROL_FD, F_SETFD, FD_CLOEXEC);
	list_init(&p->waiting);
	loop_init();
	loop_add_hook(flush_log, NULL);
	channel_loop_init();
	open_log(-1);
	p->master = channel_new(PROCESS_CONTROL_FD);
	fiber_start("master", serve_master, p);
	loop_run();
	log_flush();
	/* Fibers may still wait with memory on their stacks: the kernel tidies up. */
	_exit(self.exit_status);
}
