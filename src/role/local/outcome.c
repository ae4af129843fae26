/* SPDX-License-Identifier: Apache-2.0 */
/* What became of a recipient: for the log and for qmgr. */
#include <stdarg.h>

#include "base/log.h"
#include "mail/delivery_line.h"
#include "role/local/local.h"

enum { TEXT_MAX = 8192 };

struct outcome outcome_of(struct job *j, const char *dsn, const char *fmt, ...)
{
	struct buf text = BUF_INIT(TEXT_MAX);
	struct outcome o = {.dsn = arena_str(&j->arena, str_of(dsn))};
	va_list args;

	va_start(args, fmt);
	buf_vaddf(&text, fmt, args);
	va_end(args);
	o.text = arena_str(&j->arena, buf_str(&text));
	o.status = dsn[0] == '2' ? DELIVERY_SENT : dsn[0] == '5' ? DELIVERY_BOUNCED : DELIVERY_DEFERRED;
	buf_done(&text);
	return o;
}

struct outcome outcome_from_worker(const struct work_answer *answer)
{
	return (struct outcome){.status = answer->status, .dsn = answer->dsn, .text = answer->text};
}

static struct str status_word(struct job *j, const struct outcome *o)
{
	switch (o->status) {
	case DELIVERY_SENT:
		return STR("sent");
	case DELIVERY_BOUNCED:
		return j->transport->params->soft_bounce ? STR("SOFTBOUNCE") : STR("bounced");
	case DELIVERY_DELIVERABLE:
		return STR("deliverable");
	case DELIVERY_UNDELIVERABLE:
		return STR("undeliverable");
	default:
		return STR("deferred");
	}
}

void outcome_log(struct job *j, const struct outcome *o, struct str address, struct str original, const char *relay)
{
	struct buf line = BUF_INIT(1 << 20);
	struct delivery_line l = {
		.queue_id = str_of(j->envelope.queue_id),
		.address = address,
		.original = original,
		.relay = str_of(relay),
		.arrival = j->envelope.arrival,
		.active = j->active,
		.started = j->started,
		.connected = j->started,
		.ended = clock_wall(),
		.digits = (int)j->transport->params->delay_logging_resolution_limit,
		.dsn = o->dsn,
		.status = status_word(j, o),
		.text = o->text,
	};

	delivery_line_format(&line, &l);
	log_tagged(j->transport->tag, LOG_LEVEL_INFO, "%s", buf_cstr(&line));
	buf_done(&line);
}

void outcome_report(struct job *j, const struct outcome *o, uint32_t recipient)
{
	struct message m = {.type = MESSAGE_DELIVERED};
	struct message_delivered *d = &m.delivered;

	d->job = j->number;
	d->recipient = recipient;
	d->status = (uint8_t)(o->status == DELIVERY_BOUNCED && j->transport->params->soft_bounce ? DELIVERY_DEFERRED : o->status);
	d->dsn = o->dsn;
	d->text = o->text;
	d->action = o->action;
	if (o->dsn.len > 0 && o->dsn.ptr[0] == '5' && d->status == DELIVERY_DEFERRED)
		d->dsn = arena_printf(&j->arena, "4%.*s", STR_ARG(str_from(o->dsn, 1)));
	/* When qmgr is gone its successor starts the job again. */
	(void)!channel_send(j->qmgr, &m);
}
