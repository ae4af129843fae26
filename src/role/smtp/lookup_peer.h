/* SPDX-License-Identifier: Apache-2.0 */
/* The lookup role at the other end of a channel: it finds MTA-STS policies and makes TLS reports. */
#pragma once

#include "base/arena.h"
#include "base/base.h"
#include "ipc/channel.h"
#include "role/smtp/tls_outcome.h"

/* A lookup process; the newest one is asked. */
void lookup_peer_add(struct channel *ch);
/*
 * The MTA-STS policy in force for a domain, as its owner wrote it. -ENOENT when there is none; -EAGAIN or another
 * error when that cannot be known now; -ECANCELED. *ret_failure: what went wrong with one that is announced
 * (RFC 8460, 4.3), or empty; valid with 0 and -ENOENT.
 */
[[nodiscard]] int lookup_peer_ask_sts(struct str domain, struct arena *a, struct str *ret_policy, struct str *ret_failure) WAITS;
/* For a TLS report. `failure` tells what went wrong before that (RFC 8460, 4.3), or is empty. */
void lookup_peer_report(const struct tls_outcome *o, struct str failure);
