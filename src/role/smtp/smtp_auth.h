/* SPDX-License-Identifier: Apache-2.0 */
/* Logging in to a server (RFC 4954), as credentials.h and the mechanisms of sasl/client.h have it. */
#pragma once

#include "role/smtp/connection.h"

/*
 * Does nothing when this destination has no credentials or the server offers no AUTH. 0 when mail may go on,
 * -EHOSTUNREACH with a verdict when the server refused us or no mechanism fits, -ECANCELED.
 */
[[nodiscard]] int smtp_auth(struct connection *c, const struct connection_wish *wish, struct arena *a,
                            struct verdict *ret_verdict) WAITS;
