/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The encoded envelope: a version byte, then the fields in the order below, strings as
 * a u32 length and bytes, the recipients last.
 */
#include "mail/envelope.h"

#include <errno.h>

#include "mail/queue_id.h"

enum { ENVELOPE_VERSION = 1, RECIPIENT_SIZE_LEAST = 3 * 4 + 1 };

/* Every string but the queue id and the recipients, in the order of the encoding. */
static const size_t string_at[] = {
	offsetof(struct envelope, sender),         offsetof(struct envelope, envid),
	offsetof(struct envelope, filter),         offsetof(struct envelope, client_name),
	offsetof(struct envelope, client_address), offsetof(struct envelope, client_port),
	offsetof(struct envelope, helo),           offsetof(struct envelope, protocol),
	offsetof(struct envelope, sasl_method),    offsetof(struct envelope, sasl_username),
	offsetof(struct envelope, sasl_sender),    offsetof(struct envelope, service),
	offsetof(struct envelope, message_id),
};

static const struct str *string_of(const struct envelope *e, size_t i)
{
	return (const struct str *)((const char *)e + string_at[i]);
}

void envelope_encode(struct buf *to, const struct envelope *e)
{
	buf_add_u8(to, ENVELOPE_VERSION);
	buf_add_lstr(to, str_of(e->queue_id));
	buf_add_u64(to, (uint64_t)e->arrival.us);
	buf_add_u32(to, e->flags);
	buf_add_u8(to, e->ret);
	buf_add_u64(to, e->content_size);
	for (size_t i = 0; i < COUNT_OF(string_at); i++)
		buf_add_lstr(to, *string_of(e, i));
	buf_add_u32(to, e->recipient_count);
	for (uint32_t i = 0; i < e->recipient_count; i++) {
		const struct recipient *r = &e->recipients[i];

		buf_add_lstr(to, r->address);
		buf_add_lstr(to, r->original);
		buf_add_lstr(to, r->orcpt);
		buf_add_u8(to, r->notify);
	}
}

static void decode_recipients(struct cursor *c, struct arena *a, struct envelope *e)
{
	uint32_t count = cursor_u32(c);

	if (c->is_bad || count > c->rest.len / RECIPIENT_SIZE_LEAST) {
		c->is_bad = true;
		return;
	}
	e->recipient_count = count;
	e->recipients = arena_alloc(a, (count ? count : 1) * sizeof(*e->recipients));
	for (uint32_t i = 0; i < count && !c->is_bad; i++) {
		struct recipient *r = &e->recipients[i];

		r->address = cursor_lstr(c);
		r->original = cursor_lstr(c);
		r->orcpt = cursor_lstr(c);
		r->notify = cursor_u8(c);
		if (r->notify > (NOTIFY_NEVER | NOTIFY_SUCCESS | NOTIFY_FAILURE | NOTIFY_DELAY))
			c->is_bad = true;
	}
}

int envelope_decode(struct str bytes, struct arena *a, struct envelope *ret_envelope)
{
	struct cursor c = {.rest = bytes};
	struct envelope e = {0};
	struct str id;

	if (cursor_u8(&c) != ENVELOPE_VERSION)
		return -EBADMSG;
	id = cursor_lstr(&c);
	if (id.len >= QUEUE_ID_SIZE || (id.len > 0 && !queue_id_is_valid(id)))
		return -EBADMSG;
	if (id.len > 0)
		memcpy(e.queue_id, id.ptr, id.len);
	e.arrival.us = (int64_t)cursor_u64(&c);
	e.flags = cursor_u32(&c);
	e.ret = cursor_u8(&c);
	e.content_size = cursor_u64(&c);
	for (size_t i = 0; i < COUNT_OF(string_at); i++)
		*(struct str *)((char *)&e + string_at[i]) = cursor_lstr(&c);
	decode_recipients(&c, a, &e);
	if (c.is_bad || c.rest.len > 0 || e.ret > RET_HDRS)
		return -EBADMSG;
	*ret_envelope = e;
	return 0;
}

void envelope_copy(struct envelope *to, const struct envelope *from, struct arena *a)
{
	*to = *from;
	for (size_t i = 0; i < COUNT_OF(string_at); i++)
		*(struct str *)((char *)to + string_at[i]) = arena_str(a, *string_of(from, i));
	to->recipients = arena_alloc(a, (from->recipient_count ? from->recipient_count : 1) * sizeof(*to->recipients));
	for (uint32_t i = 0; i < from->recipient_count; i++) {
		to->recipients[i] = from->recipients[i];
		to->recipients[i].address = arena_str(a, from->recipients[i].address);
		to->recipients[i].original = arena_str(a, from->recipients[i].original);
		to->recipients[i].orcpt = arena_str(a, from->recipients[i].orcpt);
	}
}
