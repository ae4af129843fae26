/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a delivery demands of the servers it goes to: the TLS policy of the nexthop, what DNS and MTA-STS say about it,
 * and what the message itself asks for (REQUIRETLS, "TLS-Required: no").
 */
#pragma once

#include "role/smtp/connection.h"
#include "role/smtp/smtp_delivery.h"
#include "role/smtp/target.h"

/* Fills d->policy and d->requiretls for this nexthop. -EHOSTUNREACH with a verdict, -ECANCELED. */
[[nodiscard]] int delivery_policy_read(struct delivery *d, const struct nexthop *nexthop, struct verdict *ret_verdict) WAITS;
/* Leaves the hosts that the domain's MTA-STS policy names (RFC 8461, 4.1). -EHOSTUNREACH with a verdict when none is left. */
[[nodiscard]] int delivery_policy_filter(struct delivery *d, struct target_list *list, struct verdict *ret_verdict);
/*
 * The policy for one host: what DANE or smtp_tls_per_site say about it, and what the domain's MTA-STS policy and the message's
 * own demands make of that. -EHOSTUNREACH with a verdict when the host must not be used.
 */
[[nodiscard]] int delivery_policy_for_host(struct delivery *d, struct connection_wish *wish, struct verdict *ret_verdict);

/* After an attempt at a host, with the connection or NULL: for the TLS report. */
void delivery_policy_report(const struct delivery *d, const struct tls_policy *p, const struct connection *c);
/* Did this attempt at a host fail because of what REQUIRETLS demands, beyond the destination's own policy or not? */
bool delivery_policy_is_unmet(const struct delivery *d, const struct verdict *v);
/* No host could do what the message requires: those who still wait are bounced (RFC 8689, 4.2.1). */
void delivery_policy_give_up(struct delivery *d);
