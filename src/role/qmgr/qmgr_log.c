/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of the queue manager. */
#include "base/log.h"
#include "mail/address.h"
#include "mail/delivery_line.h"
#include "role/qmgr/qmgr.h"

/* "QID: from=<sender>" */
static void begin_line(struct qmgr *q, const struct envelope *e)
{
	buf_reset(&q->line);
	buf_add(&q->line, str_of(e->queue_id));
	buf_add(&q->line, STR(": from=<"));
	address_format(&q->line, e->sender);
	buf_add_char(&q->line, '>');
	for (size_t i = 0; i < q->line.len; i++)
		if ((unsigned char)q->line.ptr[i] < ' ' || q->line.ptr[i] == 127)
			q->line.ptr[i] = '?';
}

void log_active(struct qmgr *q, const struct spool_message *m)
{
	begin_line(q, &m->envelope);
	log_info("%.*s, size=%llu, nrcpt=%u (queue active)", STR_ARG(buf_str(&q->line)),
	         (unsigned long long)m->envelope.content_size, m->pending_count);
}

void log_removed(struct qmgr *q, const struct spool_message *m)
{
	log_info("%s: removed", m->envelope.queue_id);
}

void log_expired(struct qmgr *q, const struct spool_message *m, const char *status)
{
	begin_line(q, &m->envelope);
	log_info("%.*s, status=%s, returned to sender", STR_ARG(buf_str(&q->line)), status);
}

void log_recipient(struct qmgr *q, const struct message_work *w, uint32_t at, struct str address, const char *status)
{
	const struct envelope *e = &w->m->envelope;
	struct delivery_line l = {
		.queue_id = str_of(e->queue_id),
		.address = address,
		.original = e->recipients[at].original,
		.relay = STR("none"),
		.arrival = e->arrival,
		.active = w->active_at,
		.ended = clock_wall(),
		.digits = q->settings->delay_digits,
		.dsn = w->outcomes[at].reason.dsn,
		.status = str_of(status),
		.text = w->outcomes[at].reason.text,
	};

	buf_reset(&q->line);
	delivery_line_format(&q->line, &l);
	log_info("%.*s", STR_ARG(buf_str(&q->line)));
}
