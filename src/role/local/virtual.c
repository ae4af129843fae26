/* SPDX-License-Identifier: Apache-2.0 */
/* virtual: mailboxes that a table names, of users whom the system need not know. */
#include <errno.h>

#include "mail/address.h"
#include "role/local/local.h"

/* user+ext@domain, user@domain, @domain. 0, -ENOENT, or a failure. */
static int find(struct job *j, struct maps *m, struct str address, struct str *ret_value, struct buf *why)
{
	const struct params *p = j->transport->params;
	struct arena *a = &j->arena;
	struct str local, domain, user, extension;
	int err = maps_find(m, address_external(a, address), false, a, ret_value, why);

	if (err != -ENOENT || !address_split(address, &local, &domain))
		return err;
	if (split_extension(local, p->recipient_delimiter, p->owner_request_special, &user, &extension)) {
		struct str bare = arena_printf(a, "%.*s@%.*s", STR_ARG(user), STR_ARG(domain));

		err = maps_find(m, address_external(a, bare), true, a, ret_value, why);
		if (err != -ENOENT)
			return err;
	}
	return maps_find(m, arena_printf(a, "@%.*s", STR_ARG(domain)), true, a, ret_value, why);
}

/* A number from a table. False when *ret_outcome says why not. */
static bool find_id(struct job *j, struct maps *m, const char *name, struct str address, unsigned long long *ret_id,
                    struct outcome *ret_outcome)
{
	struct buf why = BUF_INIT(4096);
	struct str value;
	int err = find(j, m, address, &value, &why);

	if (err == -ENOENT)
		*ret_outcome = outcome_of(j, "4.3.5", "mail system configuration error: recipient %.*s: not found in %s",
		                          STR_ARG(address), name);
	else if (err)
		*ret_outcome = outcome_of(j, "4.3.0", "%s lookup failure: %s", name, buf_cstr(&why));
	else if (str_parse_u64(str_trim(value), ret_id) != 0 || *ret_id >= UINT32_MAX)
		*ret_outcome =
			outcome_of(j, "4.3.5", "mail system configuration error: bad id \"%.*s\" in %s", STR_ARG(value), name);
	buf_done(&why);
	return !err && ret_outcome->dsn.len == 0;
}

static struct str mailbox_path(struct job *j, struct str value)
{
	struct str base = j->transport->params->virtual_mailbox_base;

	return base.len > 0 ? arena_printf(&j->arena, "%.*s/%.*s", STR_ARG(base), STR_ARG(value)) : value;
}

/* ".." in a table's result could leave the base. */
static bool is_safe(struct str path)
{
	struct str part;

	while (str_next(&path, "/", &part))
		if (str_eq(part, STR("..")))
			return false;
	return true;
}

static struct outcome deliver(struct job *j, const struct recipient *r)
{
	const struct params *p = j->transport->params;
	struct str address = arena_lower(&j->arena, r->address), value;
	struct buf why = BUF_INIT(4096);
	struct outcome o = {0};
	struct message_work_mailbox m = {0};
	unsigned long long uid = 0, gid = 0;
	int err = find(j, j->transport->mailboxes, address, &value, &why);

	if (err == -ENOENT)
		o = outcome_of(j, "5.1.1", "unknown user: \"%.*s\"", STR_ARG(address));
	else if (err)
		o = outcome_of(j, "4.3.0", "virtual_mailbox_maps lookup failure: %s", buf_cstr(&why));
	buf_done(&why);
	if (err)
		return o;
	if (!is_safe(value))
		return outcome_of(j, "4.3.5", "mail system configuration error: mailbox \"%.*s\" leads out of its folder",
		                  STR_ARG(value));
	if (!find_id(j, j->transport->uids, "virtual_uid_maps", address, &uid, &o))
		return o;
	if (uid < (unsigned long long)p->virtual_minimum_uid)
		return outcome_of(j, "4.3.5",
		                  "mail system configuration error: recipient %.*s: user id %llu is below virtual_minimum_uid",
		                  STR_ARG(address), uid);
	if (!find_id(j, j->transport->gids, "virtual_gid_maps", address, &gid, &o))
		return o;
	m.path = mailbox_path(j, value);
	if (m.path.len == 0 || m.path.ptr[0] != '/')
		return outcome_of(
			j, "4.3.5",
			"mail system configuration error: virtual_mailbox_base is not set and \"%.*s\" is no absolute path",
			STR_ARG(value));
	m.head = delivery_head(j, r, r->address);
	m.loop = r->address;
	m.limit = (uint64_t)p->virtual_mailbox_limit;
	return deliver_mailbox(j, (uid_t)uid, (gid_t)gid, &m);
}

void agent_virtual(struct job *j)
{
	for (uint32_t i = 0; i < j->envelope.recipient_count; i++) {
		const struct recipient *r = &j->envelope.recipients[i];
		struct outcome o = deliver(j, r);

		outcome_log(j, &o, r->address, r->original, "virtual");
		outcome_report(j, &o, i);
	}
}
