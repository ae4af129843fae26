/* SPDX-License-Identifier: Apache-2.0 */
/* Transports of master.cf whose program this role stands for, and their tables. */
#include "base/log.h"
#include "base/map.h"
#include "role/local/local.h"
#include "role/local/work.h"

static struct map transports; /* by name, to struct transport */

static const char *const programs[AGENT_COUNT] = {"local", "virtual", "error", "retry", "discard", "pipe"};

static bool find_agent(struct str program, enum agent *ret_agent)
{
	for (size_t i = 0; i < COUNT_OF(programs); i++) {
		if (!str_eq(program, str_of(programs[i])))
			continue;
		*ret_agent = (enum agent)i;
		return true;
	}
	return false;
}

static unsigned lock_flags(struct str list)
{
	unsigned flags = 0;
	struct str word;

	while (str_next(&list, ", \t\r\n", &word)) {
		if (str_eq(word, STR("fcntl")))
			flags |= WORK_LOCK_FCNTL;
		else if (str_eq(word, STR("flock")))
			flags |= WORK_LOCK_FLOCK;
		else if (str_eq(word, STR("dotlock")))
			flags |= WORK_LOCK_DOTLOCK;
	}
	return flags;
}

/* What is wrong with a table is a warning here; lookups in it defer. */
static void open_one(struct transport *t, const char *name, struct str text, struct maps **ret_maps)
{
	struct buf why = BUF_INIT(1 << 16);

	if (maps_open(text, TABLE_FOLD | TABLE_NO_REGSUB | TABLE_SURROGATE, t->view, ret_maps, &why) != 0) {
		log_error("%s: %s", name, buf_cstr(&why));
		buf_reset(&why);
		/* Bad syntax was refused when the configuration was checked; if not, nothing is found but failures. */
		if (maps_open(STR("fail:unusable"), TABLE_FOLD, t->view, ret_maps, &why) != 0)
			die("%s cannot be opened: %s", name, buf_cstr(&why));
	}
	if (why.len > 0)
		log_warn("%s: %s", name, buf_cstr(&why));
	buf_done(&why);
}

static void open_virtual(struct transport *t)
{
	open_one(t, "virtual_mailbox_maps", t->params->virtual_mailbox_maps, &t->mailboxes);
	open_one(t, "virtual_uid_maps", t->params->virtual_uid_maps, &t->uids);
	open_one(t, "virtual_gid_maps", t->params->virtual_gid_maps, &t->gids);
	t->lock_flags = lock_flags(t->params->virtual_mailbox_lock);
}

static void open_local(struct transport *t)
{
	struct buf why = BUF_INIT(1 << 16);

	open_one(t, "alias_maps", t->params->alias_maps, &t->aliases);
	open_one(t, "mailbox_command_maps", t->params->mailbox_command_maps, &t->mailbox_commands);
	open_one(t, "mailbox_transport_maps", t->params->mailbox_transport_maps, &t->mailbox_transports);
	open_one(t, "fallback_transport_maps", t->params->fallback_transport_maps, &t->fallback_transports);
	t->lock_flags = lock_flags(t->params->mailbox_delivery_lock);
	if (router_new(t->view, &t->router, &why) != 0) {
		log_error("%s", buf_cstr(&why));
		t->router = NULL;
	}
	buf_done(&why);
}

const struct transport *transport_find(const struct config *c, struct str name)
{
	struct transport *t = map_find(&transports, name);
	struct buf tag = BUF_INIT(256);
	const struct service *s;

	if (t)
		return t;
	s = config_find_service(c, name, STR("unix"));
	t = mem_alloc(sizeof(*t));
	t->name = str_of(str_cstr(name));
	if (!s || !find_agent(s->program, &t->agent))
		t->agent = AGENT_NONE;
	t->view = s ? config_service_view(c, s) : config_main_view(c);
	t->params = t->view->params;
	buf_addf(&tag, "%.*s/%s", STR_ARG(t->params->syslog_name), t->agent == AGENT_NONE ? "local" : programs[t->agent]);
	t->tag = str_of(buf_take(&tag));
	map_set(&transports, name, t);
	if (t->agent == AGENT_VIRTUAL)
		open_virtual(t);
	if (t->agent == AGENT_LOCAL)
		open_local(t);
	return t;
}

bool transports_have_changed(void)
{
	size_t at = 0;
	struct str key;
	void *value;

	while (map_next(&transports, &at, &key, &value)) {
		const struct transport *t = value;
		const struct maps *const all[] = {
			t->aliases, t->mailbox_commands, t->mailbox_transports, t->fallback_transports, t->mailboxes, t->uids,
			t->gids};

		for (size_t i = 0; i < COUNT_OF(all); i++)
			if (all[i] && maps_have_changed(all[i]))
				return true;
		if (t->router && router_has_changed(t->router))
			return true;
	}
	return false;
}

void transports_done(void)
{
	size_t at = 0;
	struct str key;
	void *value;

	while (map_next(&transports, &at, &key, &value)) {
		struct transport *t = value;

		router_free(t->router);
		maps_close(t->aliases);
		maps_close(t->mailbox_commands);
		maps_close(t->mailbox_transports);
		maps_close(t->fallback_transports);
		maps_close(t->mailboxes);
		maps_close(t->uids);
		maps_close(t->gids);
		free((void *)(uintptr_t)t->tag.ptr);
		free((void *)(uintptr_t)t->name.ptr);
		free(t);
	}
	map_done(&transports);
}
