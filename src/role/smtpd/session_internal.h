/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the session share among themselves. */
#pragma once

#include "base/buf.h"
#include "session.h"

/* soft_bounce: 5xx becomes 4xx, in every line. */
void session_soften(struct buf *lines);
/* Adds smtpd_reject_footer to a refusal, if there is one. */
void session_add_footer(const struct session *s, struct buf *lines);
