/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of the index and messages in memory; the format stands in row.h. */
#include "spool/row.h"

#include <errno.h>

enum { ROW_VERSION = 1, REASON_TEXT_MAX = 2000 };

void row_head_encode(struct buf *to, const struct row_head *head)
{
	buf_add_u8(to, ROW_VERSION);
	buf_add_u32(to, head->ref.segment);
	buf_add_u32(to, head->ref.epoch);
	buf_add_u64(to, head->ref.at);
	buf_add_u64(to, head->size);
	buf_add_u64(to, head->large);
	buf_add_u64(to, head->content_at);
	buf_add_u64(to, (uint64_t)head->next_attempt.us);
	buf_add_u64(to, (uint64_t)head->deferred_at.us);
	buf_add_u32(to, head->attempts);
	buf_add_u32(to, head->flags);
}

int row_head_decode(struct str row, struct row_head *ret_head)
{
	struct cursor c = {.rest = row};
	uint8_t version = cursor_u8(&c);
	struct row_head head = {0};

	head.ref.segment = cursor_u32(&c);
	head.ref.epoch = cursor_u32(&c);
	head.ref.at = cursor_u64(&c);
	head.size = cursor_u64(&c);
	head.large = cursor_u64(&c);
	head.content_at = cursor_u64(&c);
	head.next_attempt.us = (int64_t)cursor_u64(&c);
	head.deferred_at.us = (int64_t)cursor_u64(&c);
	head.attempts = cursor_u32(&c);
	head.flags = cursor_u32(&c);
	if (c.is_bad || version != ROW_VERSION)
		return -EBADMSG;
	*ret_head = head;
	return 0;
}

/* A stranger's reply may be long; what people read of it is not. All four of every recipient fit into half a row. */
static size_t text_max(uint32_t recipients)
{
	return size_min(REASON_TEXT_MAX, ROW_SIZE_MAX / 2 / 4 / size_max(recipients, 1));
}

void row_encode(struct buf *to, struct row_head *head, const struct spool_message *m)
{
	struct buf envelope = BUF_INIT(RECORD_ENVELOPE_MAX);
	size_t max = text_max(m->envelope.recipient_count);

	envelope_encode(&envelope, &m->envelope);
	head->size = record_size(&(struct record_head){.envelope_size = (uint32_t)envelope.len,
	                                               .recipient_count = m->envelope.recipient_count,
	                                               .content_size = m->envelope.content_size,
	                                               .large = m->large});
	row_head_encode(to, head);
	buf_add_lstr(to, buf_str(&envelope));
	buf_done(&envelope);
	buf_add_u32(to, m->envelope.recipient_count);
	for (uint32_t i = 0; i < m->envelope.recipient_count; i++) {
		const struct spool_recipient *r = &m->recipients[i];
		const struct spool_reason none = {0};
		const struct spool_reason *why = r->is_done ? &none : &r->reason;

		buf_add_u8(to, r->is_done ? RECIPIENT_DONE : RECIPIENT_PENDING);
		buf_add_lstr(to, str_cut(why->dsn, 0, max));
		buf_add_lstr(to, str_cut(why->text, 0, max));
		buf_add_lstr(to, str_cut(why->mta, 0, max));
		buf_add_lstr(to, str_cut(why->diagnostic, 0, max));
	}
}

static struct spool_message *message_new(void)
{
	struct arena a = ARENA_INIT;
	struct spool_message *m = arena_alloc(&a, sizeof *m);

	m->arena = a;
	return m;
}

void message_free(struct spool_message *m)
{
	if (!m)
		return;

	struct arena a = m->arena; /* the message lies in it */

	arena_done(&a);
}

static int message_set_envelope(struct spool_message *m, struct str bytes)
{
	int err = envelope_decode(arena_str(&m->arena, bytes), &m->arena, &m->envelope);

	if (err)
		return err;
	if (!m->envelope.queue_id[0])
		return -EINVAL;
	m->recipients = arena_alloc(&m->arena, size_max(m->envelope.recipient_count, 1) * sizeof *m->recipients);
	m->pending_count = m->envelope.recipient_count;
	return 0;
}

static void recipient_set_done(struct spool_message *m, uint32_t i)
{
	if (!m->recipients[i].is_done)
		m->pending_count--;
	m->recipients[i].is_done = true;
}

static int read_recipients(struct spool_message *m, struct cursor *c)
{
	if (cursor_u32(c) != m->envelope.recipient_count)
		return -EBADMSG;
	for (uint32_t i = 0; i < m->envelope.recipient_count; i++) {
		struct spool_reason *why = &m->recipients[i].reason;

		if (cursor_u8(c) == RECIPIENT_DONE)
			recipient_set_done(m, i);
		why->dsn = arena_str(&m->arena, cursor_lstr(c));
		why->text = arena_str(&m->arena, cursor_lstr(c));
		why->mta = arena_str(&m->arena, cursor_lstr(c));
		why->diagnostic = arena_str(&m->arena, cursor_lstr(c));
	}
	return c->is_bad || c->rest.len ? -EBADMSG : 0;
}

int row_decode(struct str row, struct spool_message **ret_message)
{
	struct row_head head;
	int err = row_head_decode(row, &head);

	if (err)
		return err;

	struct cursor c = {.rest = str_from(row, ROW_HEAD_SIZE)};
	struct str envelope = cursor_lstr(&c);

	if (c.is_bad)
		return -EBADMSG;

	struct spool_message *m = message_new();

	m->ref = head.ref;
	m->large = head.large;
	m->content_at = head.content_at;
	m->next_attempt = head.next_attempt;
	m->deferred_at = head.deferred_at;
	m->attempts = head.attempts;
	m->flags = head.flags;
	m->is_indexed = true;
	err = message_set_envelope(m, envelope);
	if (!err)
		err = read_recipients(m, &c);
	if (err) {
		message_free(m);
		return err;
	}
	*ret_message = m;
	return 0;
}

void message_apply_states(struct spool_message *m, struct str states)
{
	for (uint32_t i = 0; i < m->envelope.recipient_count && i < states.len; i++)
		if (states.ptr[i] == RECIPIENT_DONE)
			recipient_set_done(m, i);
}

int message_from_record(const struct record_ref *ref, const struct record_head *head, struct str states, struct str envelope,
                        struct spool_message **ret_message)
{
	struct spool_message *m = message_new();
	int err = message_set_envelope(m, envelope);

	if (!err && (m->envelope.recipient_count != head->recipient_count || m->envelope.content_size != head->content_size))
		err = -EBADMSG;
	if (err) {
		message_free(m);
		return err;
	}
	m->ref = *ref;
	m->large = head->large;
	m->content_at = head->large ? 0 : ref->at + record_content_at(head);
	message_apply_states(m, states);
	*ret_message = m;
	return 0;
}
