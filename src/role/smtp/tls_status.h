/* SPDX-License-Identifier: Apache-2.0 */
/* tls= of the delivery lines: what a host was held to, and whether it did it. */
#pragma once

#include "role/smtp/smtp_delivery.h"

/* "may", or "dane:encrypt" where the host could only be held to less than its site. Static. */
const char *tls_status_level(const struct tls_policy *site, const struct tls_policy *host);
/*
 * Sets d->tls_status, unless smtp_log_tls_feature_status is off: the level; behind it ":none" where the host did without
 * TLS and "?" where it did not come to that; "!" in front where the host did not do what was demanded. The same of
 * REQUIRETLS. `c` is NULL when there is no session.
 */
void tls_status_note(struct delivery *d, const struct tls_policy *host, const struct connection *c, const struct verdict *v);
/* The same for a connection that was kept. */
void tls_status_note_kept(struct delivery *d, const struct connection *c);
