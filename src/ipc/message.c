/* SPDX-License-Identifier: Apache-2.0 */
/* Encoding, decoding and tracing of messages, all made from messages.def. */
#include "ipc/message.h"

#include <errno.h>

/* Now STR names a field type; this file has no use for the literal macro. */
#undef STR

static const struct {
	const char *name;
	bool has_fd;
} types[MESSAGE_TYPE_COUNT] = {
#define NO_FD 0
#define HAS_FD 1
#define MESSAGE(NAME, message_name, fd, fields) [MESSAGE_##NAME] = {#NAME, fd},
#include "ipc/messages.def"
#undef MESSAGE
#undef NO_FD
#undef HAS_FD
};

bool message_has_fd(enum message_type type)
{
	return type < MESSAGE_TYPE_COUNT && types[type].has_fd;
}

const char *message_name(enum message_type type)
{
	return type < MESSAGE_TYPE_COUNT && types[type].name ? types[type].name : "?";
}

const char *ipc_role_name(enum ipc_role role)
{
	static const char *const names[ROLE_COUNT] = {
		[ROLE_MASTER] = "master", [ROLE_SMTPD] = "smtpd", [ROLE_QMGR] = "qmgr",
		[ROLE_SMTP] = "smtp",     [ROLE_LOCAL] = "local", [ROLE_LOOKUP] = "lookup",
	};

	return role < ROLE_COUNT ? names[role] : "?";
}

/* One encoder a message: encode_deliver(to, &m->deliver). */
#define U8(field) buf_add_u8(to, m->field);
#define U32(field) buf_add_u32(to, m->field);
#define U64(field) buf_add_u64(to, m->field);
#define STR(field) buf_add_lstr(to, m->field);
#define SECRET(field) buf_add_lstr(to, m->field);
#define MESSAGE(NAME, name, fd, fields) \
	static void encode_##name(struct buf *to, const struct message_##name *m) \
	{ \
		fields \
	}
#include "ipc/messages.def"
#undef MESSAGE
#undef U8
#undef U32
#undef U64
#undef STR
#undef SECRET

void message_encode(struct buf *to, const struct message *m)
{
	size_t head_at = to->len, length;
	unsigned char head[4];

	buf_add_u32(to, 0);
	buf_add_u8(to, (uint8_t)m->type);
	switch (m->type) {
#define MESSAGE(NAME, name, fd, fields) \
	case MESSAGE_##NAME: \
		encode_##name(to, &m->name); \
		break;
#include "ipc/messages.def"
#undef MESSAGE
	case MESSAGE_NONE:
	case MESSAGE_TYPE_COUNT:
		die("a message without a type");
	}
	if (buf_check(to))
		return;
	length = to->len - head_at - sizeof(head);
	for (size_t i = 0; i < sizeof(head); i++)
		head[i] = (unsigned char)(length >> (8 * i));
	memcpy(to->ptr + head_at, head, sizeof(head));
}

#define U8(field) m->field = cursor_u8(c);
#define U32(field) m->field = cursor_u32(c);
#define U64(field) m->field = cursor_u64(c);
#define STR(field) m->field = cursor_lstr(c);
#define SECRET(field) m->field = cursor_lstr(c);
#define MESSAGE(NAME, name, fd, fields) \
	static void decode_##name(struct cursor *c, struct message_##name *m) \
	{ \
		fields \
	}
#include "ipc/messages.def"
#undef MESSAGE
#undef U8
#undef U32
#undef U64
#undef STR
#undef SECRET

/* Values that index tables of the receiver are checked here, once for all. */
static bool has_known_values(const struct message *m)
{
	switch (m->type) {
	case MESSAGE_PEER:
		return m->peer.role < ROLE_COUNT;
	case MESSAGE_PEER_DRAINING:
		return m->peer_draining.role < ROLE_COUNT;
	case MESSAGE_DELIVERED:
		return m->delivered.status < DELIVERY_STATUS_COUNT;
	case MESSAGE_JOB_DONE:
		return m->job_done.site < SITE_STATE_COUNT;
	case MESSAGE_AUTH_ANSWER:
		return m->auth_answer.result < AUTH_RESULT_COUNT;
	default:
		return true;
	}
}

int message_decode(struct str *rest, struct message *ret_message)
{
	struct cursor head = {.rest = *rest}, c = {0};
	struct message m = {.fd = -1};

	c.rest = cursor_lstr(&head);
	m.type = cursor_u8(&c);
	if (head.is_bad || c.is_bad)
		return -EBADMSG;
	switch (m.type) {
#define MESSAGE(NAME, name, fd, fields) \
	case MESSAGE_##NAME: \
		decode_##name(&c, &m.name); \
		break;
#include "ipc/messages.def"
#undef MESSAGE
	default:
		return -EBADMSG;
	}
	if (c.is_bad || c.rest.len || !has_known_values(&m))
		return -EBADMSG;
	*rest = head.rest;
	*ret_message = m;
	return 0;
}

/* At most 60 bytes, and nothing that would break a line. */
static void format_str(struct buf *to, struct str s)
{
	enum { SHOWN = 60 };

	for (size_t i = 0; i < size_min(s.len, SHOWN); i++)
		buf_add_char(to, s.ptr[i] >= ' ' && s.ptr[i] < 127 ? s.ptr[i] : '?');
	if (s.len > SHOWN)
		buf_addf(to, "...(%zu)", s.len);
}

#define U8(field) buf_addf(to, " " #field "=%u", m->field);
#define U32(field) buf_addf(to, " " #field "=%u", m->field);
#define U64(field) buf_addf(to, " " #field "=%llu", (unsigned long long)m->field);
#define STR(field) buf_addf(to, " " #field "="), format_str(to, m->field);
#define SECRET(field) buf_addf(to, " " #field "=(%zu bytes)", m->field.len);
#define MESSAGE(NAME, name, fd, fields) \
	static void format_##name(struct buf *to, const struct message_##name *m) \
	{ \
		fields \
	}
#include "ipc/messages.def"
#undef MESSAGE

void message_format(struct buf *to, const struct message *m)
{
	buf_addf(to, "%s", message_name(m->type));
	switch (m->type) {
#define MESSAGE(NAME, name, fd, fields) \
	case MESSAGE_##NAME: \
		format_##name(to, &m->name); \
		break;
#include "ipc/messages.def"
#undef MESSAGE
	case MESSAGE_NONE:
	case MESSAGE_TYPE_COUNT:
		break;
	}
}
