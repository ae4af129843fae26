/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeps TLS fresh without a reload.
 *
 * Files: a role tells at its start which files of keys and certificates, and folders of them, it has read. Once a second each is
 * looked at; when one was replaced, all files of that role are opened here, with master's rights, and the descriptors sent to it.
 * A role that lost its rights can thus read what only root may, and nothing else: the list was closed when it became ready. Key
 * and certificate are seldom replaced in the same instant: the files must have come to rest.
 *
 * Session tickets: the newest key encrypts for half of the time that sessions hold, and decrypts as long as a
 * ticket that it made may live.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/random.h"
#include "config/params.h"
#include "net/tls_stamp.h"
#include "role/master/master.h"

enum { WATCHED_MAX = 4096, LOOK_S = 1, IDLE_S = 60, REST_MS = 200, REST_TRIES = 10 };

struct watched {
	struct list link;
	char *path;
	struct tls_stamp stamp;
};

void renewal_watch(struct instance *i, const struct message *msg)
{
	struct watched *w;

	if (i->state != INSTANCE_STARTING || i->watched_count == WATCHED_MAX) {
		log_warn("process %s pid %d wants a file watched at a wrong moment", i->rights->program, (int)i->pid);
		return;
	}
	w = mem_alloc(sizeof(*w));
	w->path = str_cstr(msg->tls_watch.path);
	w->stamp = (struct tls_stamp){.device = msg->tls_watch.device,
	                              .inode = msg->tls_watch.inode,
	                              .size = msg->tls_watch.size,
	                              .modified_ns = msg->tls_watch.modified_ns};
	list_add(&i->watched, &w->link);
	i->watched_count++;
}

void renewal_forget(struct instance *i)
{
	LIST_EACH(&i->watched, it) {
		struct watched *w = LIST_ENTRY(it, struct watched, link);

		list_remove(&w->link);
		free(w->path);
		free(w);
	}
	i->watched_count = 0;
}

/* Remembers what the files look like now. Was one of them replaced? One that is gone is being replaced. */
static bool has_changed(struct instance *i)
{
	bool is_changed = false;

	LIST_EACH(&i->watched, it) {
		struct watched *w = LIST_ENTRY(it, struct watched, link);
		struct tls_stamp now = tls_stamp_of(w->path);

		if (!now.inode || tls_stamp_eq(&now, &w->stamp))
			continue;
		w->stamp = now;
		is_changed = true;
	}
	return is_changed;
}

static bool is_folder(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISDIR(st.st_mode);
}

static void send_files(struct instance *i, bool is_reporter)
{
	struct message end = {.type = MESSAGE_TLS_FILES_END, .tls_files_end = {.is_reporter = is_reporter}};

	LIST_EACH(&i->watched, it) {
		const struct watched *w = LIST_ENTRY(it, struct watched, link);
		struct message msg = {.type = MESSAGE_TLS_FILE, .tls_file = {.path = str_of(w->path)}};

		/* Folders of authorities are for everybody to read. What is missing the role tries by itself, and says what is
		 * wrong. */
		if (is_folder(w->path))
			continue;
		msg.fd = open(w->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		if (msg.fd < 0)
			continue;
		instance_tell(i, &msg);
		close(msg.fd);
	}
	instance_tell(i, &end);
}

static bool may_hear(const struct instance *i)
{
	return i->state == INSTANCE_READY && !i->is_gone;
}

/* Roles whose files changed since the last look, as bits. */
static uint32_t changed_roles(struct master *m)
{
	uint32_t roles = 0;

	LIST_EACH(&m->instances, it) {
		struct instance *i = LIST_ENTRY(it, struct instance, link);

		if (may_hear(i) && has_changed(i))
			roles |= ROLE_BIT(i->role);
	}
	return roles;
}

static void renew(struct master *m, uint32_t roles)
{
	uint32_t reported = 0;

	LIST_EACH(&m->instances, it) {
		struct instance *i = LIST_ENTRY(it, struct instance, link);

		if (!may_hear(i) || !(roles & ROLE_BIT(i->role)))
			continue;
		send_files(i, !(reported & ROLE_BIT(i->role)));
		reported |= ROLE_BIT(i->role);
	}
}

static void look_at_files(void *arg)
{
	struct master *m = arg;

	while (!m->is_stopping && !fiber_sleep(duration_s(LOOK_S))) {
		uint32_t roles = changed_roles(m), more = roles;

		for (int i = 0; more && i < REST_TRIES && !fiber_sleep(duration_ms(REST_MS)); i++) {
			more = changed_roles(m);
			roles |= more;
		}
		if (roles)
			renew(m, roles);
	}
}

/* --- session tickets --- */

static struct duration ticket_time(const struct master *m)
{
	return config_main_view(m->config)->params->smtpd_tls_session_cache_timeout;
}

void renewal_send_ticket_keys(struct instance *i)
{
	struct master *m = i->master;
	struct message msg = {.type = MESSAGE_TICKET_KEYS,
	                      .ticket_keys = {.keys = str_n((const char *)m->ticket_keys, sizeof(m->ticket_keys))}};

	if (i->rights->has_listeners && i->state <= INSTANCE_READY)
		instance_tell(i, &msg);
}

static void add_ticket_key(struct master *m)
{
	memmove(m->ticket_keys[1], m->ticket_keys[0], sizeof(m->ticket_keys) - sizeof(m->ticket_keys[0]));
	random_bytes(m->ticket_keys[0], sizeof(m->ticket_keys[0]));
}

static void turn_ticket_keys(void *arg)
{
	struct master *m = arg;

	for (;;) {
		struct duration half = {.ns = ticket_time(m).ns / 2};
		bool has_tickets = half.ns > 0;

		if (fiber_sleep(half.ns >= NS_PER_S ? half : duration_s(has_tickets ? 1 : IDLE_S)))
			return;
		if (!has_tickets)
			continue;
		add_ticket_key(m);
		LIST_EACH(&m->instances, it)
			renewal_send_ticket_keys(LIST_ENTRY(it, struct instance, link));
	}
}

void renewal_start(struct master *m)
{
	/* Nobody has tickets of the older ones, but all places hold a secret. */
	random_bytes(m->ticket_keys, sizeof(m->ticket_keys));
	fiber_start("renewal", look_at_files, m);
	fiber_start("tickets", turn_ticket_keys, m);
}
