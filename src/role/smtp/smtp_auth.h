/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logging in to a server (RFC 4954): PLAIN, LOGIN and CRAM-MD5 with a name and a password from
 * smtp_sasl_password_maps.
 */
#pragma once

#include "role/smtp/connection.h"

/*
 * Does nothing when this destination has no credentials or the server offers no AUTH. 0 when mail may go on,
 * -EHOSTUNREACH with a verdict when the server refused us or no mechanism fits, -ECANCELED.
 */
[[nodiscard]] int smtp_auth(struct connection *c, const struct connection_wish *wish, struct arena *a,
                            struct verdict *ret_verdict) WAITS;

/* The best mechanism of the server's list that these options allow; empty for none. */
struct str auth_choose(struct str offered, struct str filter, struct str options);
