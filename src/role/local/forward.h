/* SPDX-License-Identifier: Apache-2.0 */
/* New messages that deliveries make (mail of lists, forwarded mail): handed to smtpd, which commits them. */
#pragma once

#include "base/arena.h"
#include "ipc/channel.h"
#include "mail/envelope.h"

void forward_add_peer(uint32_t id, struct channel *ch);
/* That smtpd ends soon: it gets nothing new. */
void forward_peer_draining(uint32_t id);
/*
 * Submits a message; `fd` holds its content and stays the caller's. The answer is an SMTP code, 250 when the
 * message is on disk, with its queue id; 451 when no smtpd could be asked.
 */
void forward_submit(const struct envelope *e, int fd, struct arena *a, uint32_t *ret_code, struct str *ret_text,
                    struct str *ret_queue_id) WAITS;
