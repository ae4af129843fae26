/* SPDX-License-Identifier: Apache-2.0 */
/* The processes: starting them, introducing them to each other, noticing their end. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "config/params.h"
#include "ipc/client_counts.h"
#include "process/process.h"
#include "role/master/master.h"

extern char **environ;

/* How many processes of a role that comes once a core. */
static size_t core_count(const struct config *c)
{
	int64_t wanted = config_main_view(c)->params->postrider_process_count;
	cpu_set_t set;

	if (wanted > 0)
		return (size_t)wanted;
	return sched_getaffinity(0, sizeof(set), &set) ? 1 : (size_t)CPU_COUNT(&set);
}

void slots_make(struct master *m)
{
	for (enum ipc_role role = 0; role < ROLE_COUNT; role++) {
		const struct rights *rights = rights_of(role);
		size_t count = !rights ? 0 : rights->is_per_core ? size_min(core_count(m->config), SLOT_MAX / 4) : 1;

		for (size_t i = 0; i < count; i++)
			m->slots[m->slot_count++] = (struct slot){.role = role, .rank = (uint32_t)i};
	}
}

/* A lost control channel shows again as the end of the process, which is where it is handled. */
void instance_tell(struct instance *i, const struct message *msg)
{
	if (i->control && channel_send(i->control, msg))
		log_debug("%s %d does not listen", i->rights->program, (int)i->pid);
}

/* --- who knows whom -------------------------------------------------------------- */

static void send_peer(struct instance *to, const struct instance *peer, int fd)
{
	struct message msg = {.type = MESSAGE_PEER, .fd = fd, .peer = {.role = peer->role, .id = peer->id}};

	instance_tell(to, &msg);
}

static void send_peer_draining(struct instance *to, const struct instance *peer)
{
	struct message msg = {.type = MESSAGE_PEER_DRAINING, .peer_draining = {.role = peer->role, .id = peer->id}};

	instance_tell(to, &msg);
}

static bool are_peers(const struct instance *a, const struct instance *b)
{
	return a != b && !a->is_gone && !b->is_gone && a->rights->peers & ROLE_BIT(b->role) &&
	       b->rights->peers & ROLE_BIT(a->role);
}

static void introduce(struct instance *a, struct instance *b)
{
	int fds[2], err = channel_socketpair(fds);

	if (err) {
		log_error("%s and %s cannot be connected: %s", a->rights->program, b->rights->program, strerror(-err));
		return;
	}
	send_peer(a, b, fds[0]);
	send_peer(b, a, fds[1]);
	close(fds[0]);
	close(fds[1]);
	if (b->state >= INSTANCE_LEAVING)
		send_peer_draining(a, b);
}

/* --- starting -------------------------------------------------------------------- */

/* What a process says on its standard error: last words, and reports of libraries. */
struct last_words {
	char *program;
	int fd;
};

static void log_words(const struct last_words *lw, struct str text)
{
	struct str line;

	while (str_next(&text, "\n", &line))
		log_warn("process %s says: %.*s", lw->program, STR_ARG(line));
}

static void hear(void *arg)
{
	struct last_words *lw = arg;
	struct buf text = BUF_INIT(4096);
	struct watch w;

	watch_init(&w, lw->fd);
	for (;;) {
		char *room = buf_room(&text, 2048);
		ssize_t size = read(lw->fd, room, 2048);

		if (size > 0) {
			log_words(lw, str_n(room, (size_t)size));
			/* However much it has to say, master's other work goes on. */
			if (fiber_yield())
				break;
			continue;
		}
		if (size == 0 || (errno != EAGAIN && errno != EINTR) || watch_wait(&w, WATCH_READ, INSTANT_NEVER))
			break;
	}
	watch_done(&w);
	close(lw->fd);
	free(lw->program);
	free(lw);
	buf_done(&text);
}

/* The end of a pipe that becomes the standard error of the next process; -1 when there is none to be had. */
static int open_last_words(const struct rights *rights)
{
	struct last_words *lw;
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK))
		return -1;
	lw = mem_alloc(sizeof(*lw));
	lw->program = mem_strdup(rights->program);
	lw->fd = fds[0];
	fiber_start("stderr", hear, lw);
	return fds[1];
}

/* Master's standard descriptors belong to whoever started it: no role keeps them, but for the log in the foreground. */
static void set_standard_fds(posix_spawn_file_actions_t *actions, bool is_foreground, int words_fd)
{
	posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (!is_foreground)
		posix_spawn_file_actions_addopen(actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	if (words_fd >= 0)
		posix_spawn_file_actions_adddup2(actions, words_fd, STDERR_FILENO);
	else
		posix_spawn_file_actions_addopen(actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
}

static int spawn(struct master *m, const struct rights *rights, int control_fd, pid_t *ret_pid, struct buf *why)
{
	int words_fd = open_last_words(rights);
	struct buf path = BUF_INIT(4096);
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int err;

	buf_addf(&path, "%s/%s", m->libexec, rights->program);
	char *argv[] = {path.ptr, NULL};

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	set_standard_fds(&actions, m->is_foreground, words_fd);
	posix_spawn_file_actions_adddup2(&actions, control_fd, PROCESS_CONTROL_FD);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	err = posix_spawn(ret_pid, path.ptr, &actions, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	if (words_fd >= 0)
		close(words_fd);
	if (err)
		buf_addf(why, "cannot start %s: %s", path.ptr, strerror(err));
	buf_done(&path);
	return -err;
}

static void note_state(struct instance *i, enum instance_state state)
{
	i->state = state;
	wait_list_wake_all(&i->master->changed);
}

static void refuse_message(const struct instance *i, const struct message *msg)
{
	struct buf text = BUF_INIT(1024);

	message_format(&text, msg);
	log_warn("process %s pid %d sent to master what is not for it: %s", i->rights->program, (int)i->pid, buf_cstr(&text));
	buf_done(&text);
}

static void handle(struct instance *i, const struct message *msg)
{
	switch (msg->type) {
	case MESSAGE_READY:
		if (i->state == INSTANCE_STARTING)
			note_state(i, INSTANCE_READY);
		break;
	case MESSAGE_FAILED:
		buf_reset(&i->why);
		buf_addf(&i->why, "%s: %.*s", i->rights->program, STR_ARG(msg->failed.why));
		break;
	case MESSAGE_TABLE_CHANGED:
		if (i->state == INSTANCE_READY) {
			log_info("a table of %.*s has changed -- restarting %s", STR_ARG(msg->table_changed.whose),
			         i->rights->program);
			i->master->replace_roles |= ROLE_BIT(i->role);
			wait_list_wake_all(&i->master->changed);
		}
		break;
	case MESSAGE_TLS_WATCH:
		renewal_watch(i, msg);
		break;
	case MESSAGE_TLS_TRACE:
		trace_save(i, msg->tls_trace.name, msg->tls_trace.text);
		break;
	default:
		refuse_message(i, msg);
	}
	if (msg->fd >= 0)
		close(msg->fd);
}

static void listen_to(void *arg)
{
	struct instance *i = arg;
	struct message msg;
	int err;

	while (!(err = channel_recv(i->control, INSTANT_NEVER, &msg)))
		handle(i, &msg);
	if (err == -EBADMSG) {
		/* Taken over or broken: either way it is not to be worked with. */
		log_error("process %s pid %d sent what is no message; killing it", i->rights->program, (int)i->pid);
		/* When it has ended already, its number may be somebody else's. */
		if (!i->is_gone)
			kill(i->pid, SIGKILL);
	}
	channel_free(i->control);
	i->control = NULL;
	i->reader = NULL;
	wait_list_wake_all(&i->master->changed);
}

static void send_log(struct master *m, struct instance *i)
{
	struct message msg = {.type = MESSAGE_LOG_FILE, .fd = m->log_fd};

	if (m->log_fd >= 0)
		instance_tell(i, &msg);
}

static void send_go(struct instance *i, uint32_t generation)
{
	struct message msg = {.type = MESSAGE_GO, .go = {.generation = generation, .rank = i->slot->rank}};

	instance_tell(i, &msg);
}

static void send_config(struct instance *i, uint32_t generation, int snapshot_fd)
{
	struct message msg = {.type = MESSAGE_CONFIG, .fd = snapshot_fd, .config = {.generation = generation}};

	instance_tell(i, &msg);
}

void instance_send_config(struct instance *i, uint32_t generation, int snapshot_fd)
{
	send_config(i, generation, snapshot_fd);
	send_go(i, generation);
	i->generation = generation;
}

static void send_listeners(struct master *m, struct instance *i, bool is_tried)
{
	LIST_EACH(&m->listeners, it) {
		struct listener *l = LIST_ENTRY(it, struct listener, link);
		const char *service = is_tried ? l->wanted : l->service;
		struct message msg = {.type = MESSAGE_LISTENER, .fd = l->fd, .listener = {.service = str_of(service)}};

		if (service)
			instance_tell(i, &msg);
	}
}

/* The lowest column that no living process counts in. */
static uint32_t free_column(struct master *m)
{
	bool is_used[CLIENT_COLUMNS] = {false};

	LIST_EACH(&m->instances, it) {
		const struct instance *i = LIST_ENTRY(it, struct instance, link);

		if (!i->is_gone && i->client_column != NO_COLUMN)
			is_used[i->client_column] = true;
	}
	for (uint32_t column = 0; column < CLIENT_COLUMNS; column++)
		if (!is_used[column])
			return column;
	return NO_COLUMN;
}

static void send_client_counts(struct master *m, struct instance *i)
{
	struct message msg = {.type = MESSAGE_CLIENTS, .fd = m->client_counts_fd};

	msg.clients.column = i->client_column = free_column(m);
	if (i->client_column != NO_COLUMN)
		instance_tell(i, &msg);
}

static void send_endpoints(struct master *m, struct instance *i)
{
	for (size_t e = 0; e < m->endpoint_count; e++) {
		struct str name = str_of(m->endpoints[e].name);
		struct message msg = {.type = MESSAGE_ENDPOINT, .fd = m->endpoints[e].fd, .endpoint = {.name = name}};

		for (size_t n = 0; i->rights->endpoints[n]; n++)
			if (str_eq(name, str_of(i->rights->endpoints[n])))
				instance_tell(i, &msg);
	}
}

static struct instance *instance_new(struct master *m, struct slot *slot, pid_t pid, int control_fd)
{
	struct instance *i = mem_alloc(sizeof(*i));

	*i = (struct instance){.master = m,
	                       .slot = slot,
	                       .role = slot->role,
	                       .rights = rights_of(slot->role),
	                       .id = ++m->last_id,
	                       .pid = pid,
	                       .control = channel_new(control_fd),
	                       .started_at = clock_now(),
	                       .client_column = NO_COLUMN,
	                       .why = BUF_INIT(8192)};
	list_init(&i->watched);
	list_add(&m->instances, &i->link);
	i->reader = fiber_start("instance", listen_to, i);
	return i;
}

struct instance *instance_start(struct master *m, struct slot *slot, const struct config *c, int snapshot_fd, struct buf *why)
{
	struct instance *i;
	int fds[2];
	pid_t pid;
	int err = channel_socketpair(fds);

	if (err) {
		buf_addf(why, "socketpair: %s", strerror(-err));
		return NULL;
	}
	err = spawn(m, rights_of(slot->role), fds[1], &pid, why);
	close(fds[1]);
	if (err) {
		close(fds[0]);
		return NULL;
	}
	i = instance_new(m, slot, pid, fds[0]);
	i->generation = m->generation;
	send_log(m, i);
	send_config(i, m->generation, snapshot_fd);
	renewal_send_ticket_keys(i);
	if (i->rights->has_listeners) {
		send_client_counts(m, i);
		send_listeners(m, i, c != m->config);
	}
	send_endpoints(m, i);
	LIST_EACH(&m->instances, it) {
		struct instance *other = LIST_ENTRY(it, struct instance, link);

		if (are_peers(i, other))
			introduce(i, other);
	}
	send_go(i, m->generation);
	return i;
}

/* Deaths in a row cost 1, 2, 4 ... 60 seconds; the first one nothing. */
static struct instant next_start(const struct slot *slot)
{
	int64_t wait = slot->failures < 2 ? 0 : 1LL << size_min(slot->failures - 2, 6);

	return clock_deadline(duration_s(wait > 60 ? 60 : wait));
}

struct instant slots_fill(struct master *m)
{
	struct instant next = INSTANT_NEVER;

	for (size_t n = 0; n < m->slot_count && m->is_serving && !m->is_stopping; n++) {
		struct slot *slot = &m->slots[n];
		struct buf why = BUF_INIT(4096);

		if (slot->current || slot->next)
			continue;
		if (!instant_is_before(clock_now(), slot->restart_at))
			slot->current = instance_start(m, slot, m->config, m->snapshot_fd, &why);
		if (why.len) {
			log_error("%s", buf_cstr(&why));
			slot->failures++;
			slot->restart_at = next_start(slot);
		}
		if (!slot->current && instant_is_before(slot->restart_at, next))
			next = slot->restart_at;
		buf_done(&why);
	}
	return next;
}

/* --- leaving --------------------------------------------------------------------- */

void instance_leave(struct instance *i)
{
	if (i->slot && i->slot->current == i)
		i->slot->current = NULL;
	if (i->slot && i->slot->next == i)
		i->slot->next = NULL;
	i->slot = NULL;
	if (i->state >= INSTANCE_LEAVING)
		return;
	LIST_EACH(&i->master->instances, it) {
		struct instance *other = LIST_ENTRY(it, struct instance, link);

		if (are_peers(i, other))
			send_peer_draining(other, i);
	}
	note_state(i, INSTANCE_LEAVING);
}

/* Does `i` have to stay until some leaving role that works with it has finished? */
static bool is_needed(struct master *m, const struct instance *i)
{
	if (!i->rights->drains_last)
		return false;
	LIST_EACH(&m->instances, it) {
		const struct instance *other = LIST_ENTRY(it, struct instance, link);

		if (!other->rights->drains_last && !other->is_gone && other->state >= INSTANCE_LEAVING &&
		    (m->is_stopping || other->generation <= i->generation))
			return true;
	}
	return false;
}

void instances_advance(struct master *m)
{
	struct message drain = {.type = MESSAGE_DRAIN, .drain = {.is_stop = m->is_stopping}};

	LIST_EACH(&m->instances, it) {
		struct instance *i = LIST_ENTRY(it, struct instance, link);

		if (i->state == INSTANCE_LEAVING && !is_needed(m, i)) {
			instance_tell(i, &drain);
			note_state(i, INSTANCE_DRAINING);
		}
	}
}

void instances_stop(struct master *m)
{
	struct message drain = {.type = MESSAGE_DRAIN, .drain = {.is_stop = true}};

	LIST_EACH(&m->instances, it) {
		struct instance *i = LIST_ENTRY(it, struct instance, link);

		instance_leave(i);
		/* Those of an older configuration are about to go already, in their own time. */
		if (i->state == INSTANCE_DRAINING)
			instance_tell(i, &drain);
	}
}

static void log_end(const struct instance *i, int status)
{
	if (WIFSIGNALED(status))
		log_warn("process %s/%s pid %d killed by signal %d", i->master->libexec, i->rights->program, (int)i->pid,
		         WTERMSIG(status));
	else if (WEXITSTATUS(status) || i->state < INSTANCE_LEAVING)
		log_warn("process %s/%s pid %d exit status %d", i->master->libexec, i->rights->program, (int)i->pid,
		         WEXITSTATUS(status));
}

/* A slot that lost its process gets another one; soon, unless this happens again and again. */
static void vacate(struct master *m, struct instance *i)
{
	struct slot *slot = i->slot;
	bool was_brief = duration_between(i->started_at, clock_now()).ns < 10 * NS_PER_S;

	if (!slot || slot->current != i)
		return;
	slot->current = NULL;
	slot->failures = was_brief ? slot->failures + 1 : 1;
	slot->restart_at = next_start(slot);
	if (slot->failures > 2)
		log_warn("%s/%s: bad command startup -- throttling", m->libexec, i->rights->program);
}

static void instance_gone(struct master *m, struct instance *i, int status)
{
	i->is_gone = true;
	client_counts_clear(m->client_counts, i->client_column);
	log_end(i, status);
	vacate(m, i);
	wait_list_wake_all(&m->changed);
}

void instances_reap(struct master *m)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		LIST_EACH(&m->instances, it) {
			struct instance *i = LIST_ENTRY(it, struct instance, link);

			if (i->pid == pid && !i->is_gone)
				instance_gone(m, i, status);
		}
	}
}

/* Only when its last messages have been read is it forgotten: FAILED may be among them. */
void instances_forget(struct master *m)
{
	LIST_EACH(&m->instances, it) {
		struct instance *i = LIST_ENTRY(it, struct instance, link);

		if (!i->is_gone || i->reader || (i->slot && i->slot->next == i))
			continue;
		list_remove(&i->link);
		renewal_forget(i);
		buf_done(&i->why);
		free(i);
	}
}

void instances_kill(struct master *m, int signal)
{
	LIST_EACH(&m->instances, it) {
		struct instance *i = LIST_ENTRY(it, struct instance, link);

		if (!i->is_gone)
			kill(i->pid, signal);
	}
}

void instances_send_log(struct master *m)
{
	LIST_EACH(&m->instances, it)
		send_log(m, LIST_ENTRY(it, struct instance, link));
}
