/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS reports (RFC 8460): the outcomes of all sessions are gathered by day and domain, and go to the domains that
 * ask for them in DNS, by mail or HTTPS, when the day is over.
 */
#pragma once

#include "config/config.h"
#include "ipc/message.h"
#include "role/lookup/lookup.h"

/* Once, before the resolver and the store are needed. Tells whether some service reports. */
bool tlsrpt_is_wanted(const struct config *c);
/* Begins to gather and to send; the store is open. */
void tlsrpt_start(const struct config *c);
void tlsrpt_take(const struct message_tls_outcome *o);
/* Writes down what has been gathered. */
void tlsrpt_flush(void) WAITS;
