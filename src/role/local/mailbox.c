/* SPDX-License-Identifier: Apache-2.0 */
/* What every delivery to a mailbox has in common, on the side that asks a worker. */
#include <time.h>

#include "mail/address.h"
#include "role/local/local.h"
#include "role/local/work.h"

struct str delivery_head(struct job *j, const struct recipient *r, struct str delivered_to)
{
	struct buf head = BUF_INIT(1 << 16);
	struct str result, original = r->original.len > 0 ? r->original : r->address;

	buf_addf(&head, "Return-Path: <");
	address_format(&head, j->envelope.sender);
	buf_addf(&head, ">\n");
	if (j->transport->params->enable_original_recipient) {
		buf_addf(&head, "X-Original-To: ");
		address_format(&head, original);
		buf_add_char(&head, '\n');
	}
	if (delivered_to.len > 0) {
		buf_addf(&head, "Delivered-To: ");
		address_format(&head, delivered_to);
		buf_add_char(&head, '\n');
	}
	/* An address with line ends in it must not make headers. */
	for (size_t i = 0; i + 1 < head.len; i++)
		if (head.ptr[i] == '\r' || head.ptr[i] == '\0')
			head.ptr[i] = '?';
	result = arena_str(&j->arena, buf_str(&head));
	buf_done(&head);
	return result;
}

struct str from_line_of(struct job *j, struct str sender)
{
	char date[64] = "";
	struct tm tm;
	time_t now = (time_t)(clock_wall().us / 1000000);

	if (localtime_r(&now, &tm))
		(void)strftime(date, sizeof(date), "%a %b %e %H:%M:%S %Y", &tm);
	return arena_printf(&j->arena, "From %.*s  %s", STR_ARG(sender), date);
}

struct str delivery_from_line(struct job *j)
{
	return from_line_of(j,
	                    j->envelope.sender.len > 0 ? address_external(&j->arena, j->envelope.sender) : STR("MAILER-DAEMON"));
}

struct outcome deliver_mailbox(struct job *j, uid_t uid, gid_t gid, struct message_work_mailbox *m)
{
	const struct params *p = j->transport->params;
	struct message task = {.type = MESSAGE_WORK_MAILBOX, .fd = -1};
	struct identity who = {.uid = uid, .gid = gid};
	struct work_answer answer;

	if (!j->file)
		return outcome_of(j, "4.3.0", "the content of the message is not open here");
	m->content_at = j->content_at;
	m->content_size = j->content_size;
	m->from_line = delivery_from_line(j);
	m->flags |= j->transport->lock_flags | (p->strict_mailbox_ownership ? WORK_STRICT_OWNER : 0);
	m->lock_attempts = (uint32_t)p->deliver_lock_attempts;
	m->lock_delay = (uint32_t)(p->deliver_lock_delay.ns / NS_PER_S);
	m->stale_lock = (uint32_t)(p->stale_lock_time.ns / NS_PER_S);
	task.work_mailbox = *m;
	workers_run(&who, &task, j->file, &j->arena, &answer);
	return outcome_from_worker(&answer);
}
