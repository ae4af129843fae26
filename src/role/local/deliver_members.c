/* SPDX-License-Identifier: Apache-2.0 */
/* Delivery to the members of an alias, a list or a .forward file. */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "role/local/expansion.h"
#include "role/local/members.h"
#include "role/local/work.h"

static void deliver_include(struct expansion *x, struct str path, const struct level *lv)
{
	struct level inner = {.up = lv,
	                      .depth = lv->depth + 1,
	                      .kind = "include",
	                      .name = path,
	                      .sender = lv->sender,
	                      .has_owner = lv->has_owner,
	                      .is_resubmitting = true,
	                      .has_user = lv->has_user,
	                      .uid = lv->uid,
	                      .gid = lv->gid};
	struct message m = {.type = MESSAGE_WORK_READ, .fd = -1, .work_read = {.path = path, .flags = WORK_TRUSTED_FILE}};
	struct work_answer answer;
	struct outcome o;
	struct stat st;

	if (path.len == 0 || path.ptr[0] != '/') {
		o = outcome_of(x->j, "5.3.5", "mail system configuration error: :include:%.*s uses a relative path name",
		               STR_ARG(path));
		expansion_note(x, &o, x->r->address);
		return;
	}
	if (inner.depth > LEVELS_MAX || expansion_was_here(x, "include", path))
		return;
	/*
	 * What root's aliases include is read as its owner, whose rights its members have; where that is root, too, as whom
	 * the alias speaks for. What a user includes is read as that user: nobody shall read files of others, or make things
	 * happen with their rights, by naming them.
	 */
	if (geteuid() == 0 && !lv->has_user && stat(arena_cstr(&x->j->arena, path), &st) == 0 && st.st_uid != 0) {
		inner.uid = st.st_uid;
		inner.gid = st.st_gid;
		inner.has_user = true;
	}
	workers_run(&(struct identity){.uid = inner.uid, .gid = inner.gid}, &m, NULL, &x->j->arena, &answer);
	if (answer.error != 0) {
		o = outcome_of(x->j, answer.error == ENOENT ? "5.3.5" : "4.3.0", "cannot open include file %.*s: %s",
		               STR_ARG(path), strerror(answer.error));
		expansion_note(x, &o, x->r->address);
		return;
	}
	(void)deliver_members(x, answer.data, &inner);
}

static void deliver_member(struct expansion *x, const struct member *m, const struct level *lv)
{
	const struct params *p = x->j->transport->params;
	struct str rest = m->text, address;
	struct outcome o;

	switch (m->kind) {
	case MEMBER_COMMAND:
		if (str_list_has_exactly(p->allow_mail_to_commands, str_of(lv->kind))) {
			deliver_command(x, m->text, NULL, NULL, lv);
			return;
		}
		o = outcome_of(x->j, "5.7.1", "mail to command is restricted");
		expansion_note(x, &o, x->r->address);
		return;
	case MEMBER_FILE:
		if (str_list_has_exactly(p->allow_mail_to_files, str_of(lv->kind))) {
			deliver_file(x, m->text, lv);
			return;
		}
		o = outcome_of(x->j, "5.7.1", "mail to file is restricted");
		expansion_note(x, &o, x->r->address);
		return;
	case MEMBER_INCLUDE:
		deliver_include(x, m->text, lv);
		return;
	case MEMBER_ADDRESSES:
		/* A backslash in front is ours; the address parser would take it for a quoted letter. */
		if (rest.ptr[0] == '\\')
			deliver_address(x, rest, lv);
		else
			while (route_next_address(&rest, &x->j->arena, &address))
				deliver_address(x, address, lv);
		return;
	}
}

bool deliver_members(struct expansion *x, struct str text, const struct level *lv)
{
	struct member m;
	bool is_found = false;

	while (member_next(&text, &x->j->arena, &m)) {
		deliver_member(x, &m, lv);
		is_found = true;
	}
	return is_found;
}
