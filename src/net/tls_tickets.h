/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of the session tickets that the server gives out. All processes have the same ones, so that a session
 * can be resumed in any of them. The first encrypts, all decrypt.
 */
#pragma once

#include <openssl/types.h>

#include "base/str.h"

/* One key: its name, a key for the cipher, a key for the MAC. */
enum { TLS_TICKET_NAME_SIZE = 16, TLS_TICKET_SECRET_SIZE = 32, TLS_TICKET_KEY_SIZE = 80, TLS_TICKET_KEYS_MAX = 4 };

/* Whole keys, the newest first. -EINVAL for anything else. Until the first call the process has a key of its own. */
[[nodiscard]] int tls_tickets_set(struct str keys);
/* Tickets of this context are made with these keys and the named cipher. -EINVAL for one that will not do. */
[[nodiscard]] int tls_tickets_use(SSL_CTX *ctx, struct str cipher);
