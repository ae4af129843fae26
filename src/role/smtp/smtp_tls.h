/* SPDX-License-Identifier: Apache-2.0 */
/* TLS with a server: STARTTLS, the handshake, and whether the server is who the policy wants. */
#pragma once

#include "role/smtp/connection.h"

/* The handshake on its own. -EHOSTUNREACH with a verdict when it fails or the server is not to be trusted; -ECANCELED. */
[[nodiscard]] int smtp_tls_start(struct connection *c, const struct connection_wish *wish, struct arena *a,
                                 struct verdict *ret_verdict) WAITS;
/* The line that tells of TLS with this server, established now or kept from another message. */
void smtp_tls_log(const struct connection *c, const struct tls_policy *p, bool is_kept);
