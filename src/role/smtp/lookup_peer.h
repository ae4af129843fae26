/* SPDX-License-Identifier: Apache-2.0 */
/* The lookup role at the other end of a channel: it finds MTA-STS policies, keeps access tokens and makes TLS reports. */
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
/*
 * An access token from the transport's token command, for this login name. *ret_is_new: there is no better one to be had
 * just now. -ECANCELED, or another error when there is none; lookup has logged why.
 */
[[nodiscard]] int lookup_peer_ask_token(struct str transport, struct str user, struct arena *a, struct str *ret_token,
                                        bool *ret_is_new) WAITS;
/* A server would not have it: it is not given out again. */
void lookup_peer_refuse_token(struct str transport, struct str user, struct str token);
/* For a TLS report. `failure` tells what went wrong before that (RFC 8460, 4.3), or is empty. */
void lookup_peer_report(const struct tls_outcome *o, struct str failure);
