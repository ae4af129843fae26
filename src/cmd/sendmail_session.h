/* SPDX-License-Identifier: Apache-2.0 */
/* sendmail -bs: SMTP over standard input and output, for programs that speak it to a pipe. */
#pragma once

#include <stdio.h>

#include "mail/envelope.h"
#include "mail/reply.h"

struct sendmail_session {
	FILE *in;
	FILE *out;
	struct str hostname; /* $myhostname */
	struct str mail_name;
	uint64_t size_limit; /* 0 for none */
	uint32_t recipient_limit;
	/* Hands a message over; the reply is for the caller. */
	struct reply (*submit)(void *arg, const struct envelope *e, struct str content, struct arena *a);
	void *arg;
};

/* From the greeting to QUIT or the end of the input. */
void sendmail_session_run(struct sendmail_session *s);
