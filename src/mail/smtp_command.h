/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SMTP commands as text: the verb, and the arguments of MAIL and RCPT. Mistakes are
 * answered with the reply that the client gets; code 0 means that all is well.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"
#include "mail/reply.h"

struct command {
	struct str verb;     /* as written; compare without case */
	struct str argument; /* the rest, without blanks around it */
};

/* A line without its end. */
void command_parse(struct str line, struct command *ret_command);

/* What this session takes beside SIZE and BODY. */
enum command_flag {
	COMMAND_STRICT = 1, /* strict_rfc821_envelopes */
	COMMAND_UTF8 = 2,   /* UTF-8 in addresses */
	COMMAND_DSN = 4,    /* RET ENVID NOTIFY ORCPT */
	COMMAND_SMTPUTF8 = 8,
	COMMAND_AUTH = 16,
	COMMAND_REQUIRETLS = 32,
};

struct mail_command {
	struct str path;    /* as the client wrote it, with brackets */
	struct str address; /* internal form */
	uint64_t size;      /* 0 when not given */
	bool is_8bitmime;
	bool is_smtputf8;
	bool is_requiretls;
	bool has_auth;
	struct str auth;  /* decoded; "<>" as empty */
	uint8_t ret;      /* enum dsn_ret */
	struct str envid; /* decoded */
};

struct rcpt_command {
	struct str path;
	struct str address;
	uint8_t notify;   /* enum dsn_notify */
	struct str orcpt; /* "type;address", decoded */
};

/* `argument` is what follows the verb: "FROM:<a@b> SIZE=1". */
struct reply mail_command_parse(struct str argument, unsigned flags, struct arena *a, struct mail_command *ret_mail);
struct reply rcpt_command_parse(struct str argument, unsigned flags, struct arena *a, struct rcpt_command *ret_rcpt);

/* RFC 3461 xtext: "+3D" and the like. -EINVAL. */
[[nodiscard]] int xtext_decode(struct str text, struct arena *a, struct str *ret_bytes);
void xtext_encode(struct buf *to, struct str bytes);
