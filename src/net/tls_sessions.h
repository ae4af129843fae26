/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS sessions of the client, kept in this process to spare the next handshake with the same server. They are
 * found by a key that the caller makes of all that the session was demanded of: the server, and the policy.
 */
#pragma once

#include <openssl/types.h>

#include "base/clock.h"
#include "base/str.h"

/* Lets a context tell of new sessions. */
void tls_sessions_enable(SSL_CTX *ctx);
/* Before the handshake: offers the session of this key if there is one, and keeps those that come for `hold`. */
void tls_sessions_attach(SSL *ssl, struct str key, struct duration hold);
/*
 * After a handshake that resumed a session: is the certificate of back then one that would be trusted now? Sets the verify
 * result, as a whole handshake does.
 */
void tls_sessions_verify_again(SSL *ssl);
void tls_sessions_forget(void);
