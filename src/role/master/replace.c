/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replacing roles without losing a session: the new processes start beside the old ones,
 * and only when all of them are ready do they take over and the old ones leave. When one
 * cannot start, the new ones go and the old ones never notice.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "process/problems.h"
#include "role/master/master.h"

enum { READY_S = 60, ALL_ROLES = ~0 };

int snapshot_make(const struct config *c, int *ret_fd, struct buf *why)
{
	struct buf bytes = BUF_INIT(64 << 20);
	int fd = memfd_create("postrider-config", MFD_CLOEXEC | MFD_ALLOW_SEALING), err = 0;
	struct str rest;

	config_snapshot(c, &bytes);
	if (fd < 0)
		err = -errno;
	if (!err)
		err = buf_check(&bytes);
	for (rest = buf_str(&bytes); !err && rest.len;) {
		ssize_t size = write(fd, rest.ptr, rest.len);

		if (size < 0)
			err = -errno;
		else
			rest = str_from(rest, (size_t)size);
	}
	if (!err && fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE))
		err = -errno;
	buf_done(&bytes);
	if (err && fd >= 0)
		close(fd);
	if (err)
		buf_addf(why, "the configuration cannot be handed on: %s", strerror(-err));
	else
		*ret_fd = fd;
	return err;
}

static bool is_replaced(const struct slot *slot, uint32_t roles)
{
	return roles & ROLE_BIT(slot->role) && !(slot->current && rights_of(slot->role)->is_kept_on_reload);
}

static int start_next(struct master *m, uint32_t roles, const struct config *c, int snapshot_fd, struct buf *why)
{
	m->generation++;
	for (size_t n = 0; n < m->slot_count; n++) {
		struct slot *slot = &m->slots[n];

		if (!is_replaced(slot, roles))
			continue;
		slot->next = instance_start(m, slot, c, snapshot_fd, why);
		if (!slot->next)
			return -ECHILD;
	}
	return 0;
}

/* 0 when all are ready, -EAGAIN when some are not yet, -ECHILD when one has ended, ready or not. */
static int look_at_next(struct master *m, struct buf *why)
{
	int err = 0;

	for (size_t n = 0; n < m->slot_count; n++) {
		const struct instance *next = m->slots[n].next;

		if (!next || (next->state == INSTANCE_READY && !next->is_gone))
			continue;
		if (!next->is_gone || next->reader) {
			err = -EAGAIN;
			continue;
		}
		if (next->why.len)
			buf_add(why, buf_str(&next->why));
		else
			buf_addf(why, "%s ended at its start", next->rights->program);
		return -ECHILD;
	}
	return err;
}

static int wait_ready(struct master *m, struct buf *why)
{
	struct instant deadline = clock_deadline(duration_s(READY_S));

	for (;;) {
		int err = look_at_next(m, why);

		if (err != -EAGAIN)
			return err;
		if (m->is_stopping)
			return -ECANCELED;
		err = wait_list_wait(&m->changed, deadline);
		if (err == -ETIMEDOUT)
			buf_addf(why, "the new processes were not ready within %d s", READY_S);
		if (err)
			return err;
	}
}

static void drop_next(struct master *m)
{
	for (size_t n = 0; n < m->slot_count; n++) {
		struct instance *next = m->slots[n].next;

		if (!next)
			continue;
		instance_leave(next);
		if (!next->is_gone)
			kill(next->pid, SIGKILL);
	}
}

static void promote_next(struct master *m)
{
	for (size_t n = 0; n < m->slot_count; n++) {
		struct slot *slot = &m->slots[n];
		struct instance *old = slot->current;

		if (!slot->next)
			continue;
		slot->current = slot->next;
		slot->next = NULL;
		slot->failures = 0;
		if (old)
			instance_leave(old);
	}
}

/* The roles that keep their process get the configuration in force in place. */
static void update_kept(struct master *m, uint32_t roles)
{
	for (size_t n = 0; n < m->slot_count; n++) {
		struct slot *slot = &m->slots[n];

		if (slot->current && roles & ROLE_BIT(slot->role) && slot->current->rights->is_kept_on_reload)
			instance_send_config(slot->current, m->generation, m->snapshot_fd);
	}
}

static int start_and_wait(struct master *m, uint32_t roles, const struct config *c, int snapshot_fd, struct buf *why)
{
	int err = start_next(m, roles, c, snapshot_fd, why);

	if (!err)
		err = wait_ready(m, why);
	if (err)
		drop_next(m);
	return err;
}

int replace_first(struct master *m, struct buf *why)
{
	int err = start_and_wait(m, ALL_ROLES, m->config, m->snapshot_fd, why);

	if (!err)
		promote_next(m);
	return err;
}

void replace_for_tables(struct master *m, uint32_t roles)
{
	struct buf why = BUF_INIT(8192);

	if (start_and_wait(m, roles, m->config, m->snapshot_fd, &why)) {
		if (!m->is_stopping)
			log_error("a table has changed, but the processes that use it could not be replaced: %s", buf_cstr(&why));
	} else {
		update_kept(m, roles);
		promote_next(m);
	}
	buf_done(&why);
}

/* What a running server cannot change: sockets, locks and the spool lie there. */
static int check_places(const struct master *m, const struct config *c, struct buf *why)
{
	static const char *const names[] = {"queue_directory", "data_directory"};

	for (size_t i = 0; i < COUNT_OF(names); i++) {
		struct str name = str_of(names[i]);

		if (str_eq(view_get(config_main_view(c), name), view_get(config_main_view(m->config), name)))
			continue;
		buf_addf(why, "%s has changed; that needs `postfix stop` and `postfix start`", names[i]);
		return -EINVAL;
	}
	return 0;
}

/* The new processes write to the new log and listen on the new sockets, before it is sure that they stay. */
static int try_processes(struct master *m, struct config *c, int snapshot_fd, struct buf *why)
{
	struct buf ignored = BUF_INIT(4096);
	int err = log_sink_open(m, c, why);

	if (!err)
		err = listeners_open(m, c, why);
	if (!err) {
		err = start_and_wait(m, ALL_ROLES, c, snapshot_fd, why);
		if (err)
			listeners_abort(m);
	}
	if (err && log_sink_open(m, m->config, &ignored))
		log_warn("%s", buf_cstr(&ignored));
	buf_done(&ignored);
	return err;
}

static int try_config(struct master *m, struct config *c, struct buf *why)
{
	int snapshot_fd, err;

	if (config_has_errors(c)) {
		buf_addf(why, "the new configuration has errors");
		return -EINVAL;
	}
	err = check_places(m, c, why);
	if (!err)
		err = snapshot_make(c, &snapshot_fd, why);
	if (err)
		return err;
	err = try_processes(m, c, snapshot_fd, why);
	if (err) {
		close(snapshot_fd);
		return err;
	}
	listeners_commit(m);
	close(m->snapshot_fd);
	m->snapshot_fd = snapshot_fd;
	return 0;
}

void replace_for_reload(struct master *m)
{
	struct config *c = config_load(m->config_dir, NULL, 0), *old = m->config;
	struct buf why = BUF_INIT(8192);

	if (config_has_errors(c) || !m->has_been_checked)
		(void)problems_log(c);
	if (try_config(m, c, &why)) {
		log_error("reload refused, the running configuration stays: %s", buf_cstr(&why));
		config_free(c);
	} else {
		m->config = c;
		log_sink_name(c);
		config_free(old);
		instances_send_log(m);
		update_kept(m, ALL_ROLES);
		promote_next(m);
		log_info("reload -- version %s, configuration %.*s", POSTRIDER_VERSION, STR_ARG(m->config_dir));
	}
	buf_done(&why);
}
