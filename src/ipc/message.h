/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages between roles as structs: struct message_NAME for each line of messages.def,
 * and struct message that holds any of them.
 *
 *	struct message m = {.type = MESSAGE_QUEUED, .queued = {.segment = 3, .end = at}};
 */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

/* Who sits at the other end of a channel. */
enum ipc_role { ROLE_MASTER, ROLE_SMTPD, ROLE_QMGR, ROLE_SMTP, ROLE_LOCAL, ROLE_LOOKUP, ROLE_COUNT };

/* DELIVERED.status */
enum delivery_status {
	DELIVERY_SENT,
	DELIVERY_DEFERRED,
	DELIVERY_BOUNCED,
	DELIVERY_DELIVERABLE, /* answers to a probe: ENVELOPE_VERIFY_ONLY */
	DELIVERY_UNDELIVERABLE,
	DELIVERY_STATUS_COUNT
};

/* JOB_DONE.site: what the job taught about its nexthop. */
enum site_state {
	SITE_OK,   /* it took the mail, or refused it like a server that works */
	SITE_BUSY, /* it works but wants fewer of us: lower the concurrency */
	SITE_DOWN, /* no connection, no greeting: leave it alone for a while */
	SITE_STATE_COUNT
};

/* AUTH_ANSWER.result */
enum auth_result { AUTH_OK, AUTH_GO_ON, AUTH_REFUSED, AUTH_TEMPORARY, AUTH_MALFORMED, AUTH_RESULT_COUNT };

/* STR is also the literal macro of base/str.h: it has another meaning while the declarations are read. */
#pragma push_macro("STR")
#undef STR

#define U8(field) uint8_t field;
#define U32(field) uint32_t field;
#define U64(field) uint64_t field;
#define STR(field) struct str field;
#define SECRET(field) struct str field;
#define MESSAGE(NAME, name, fd, fields) \
	struct message_##name { \
		fields \
	};
#include "ipc/messages.def"
#undef MESSAGE
#undef U8
#undef U32
#undef U64
#undef STR
#undef SECRET

#pragma pop_macro("STR")

enum message_type {
	MESSAGE_NONE,
#define MESSAGE(NAME, name, fd, fields) MESSAGE_##NAME,
#include "ipc/messages.def"
#undef MESSAGE
	MESSAGE_TYPE_COUNT
};

/* Any message. Strings are views: the caller's when sending, the channel's after receiving. */
struct message {
	enum message_type type;
	int fd; /* for those with HAS_FD; not looked at for the others when sending, -1 after receiving */
	union {
#define MESSAGE(NAME, name, fd, fields) struct message_##name name;
#include "ipc/messages.def"
#undef MESSAGE
	};
};

/* The most one encoded message may take: an envelope of some 30,000 recipients fits. */
enum { MESSAGE_SIZE_MAX = 16 << 20 };

bool message_has_fd(enum message_type type);
/* "DELIVER"; "?" for what is none. */
const char *message_name(enum message_type type);

/* Appends one frame: u32 length of what follows, u8 type, the fields. */
void message_encode(struct buf *to, const struct message *m);
/*
 * Takes the first frame off *rest; strings point into it, fd is -1. Fails with -EBADMSG
 * on anything but a whole frame of a known type with exactly its fields.
 */
[[nodiscard]] int message_decode(struct str *rest, struct message *ret_message);
/* "DELIVER job=1 transport=smtp ..." on one line for traces: long strings cut, secrets left out. */
void message_format(struct buf *to, const struct message *m);

/* "smtpd"; "?" for what is none. */
const char *ipc_role_name(enum ipc_role role);
