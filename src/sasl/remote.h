/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of smtpd to the back ends that live in the lookup role (builtin, cyrus): one
 * struct sasl_remote a process, which every sasl_server asks. A dialogue stays with the lookup
 * process that it began with; when that one is gone it is a temporary failure for those who wait.
 */
#pragma once

#include <stdbool.h>

#include "sasl/server.h"

struct channel;
struct message;
struct sasl_remote;

[[nodiscard]] struct sasl_remote *sasl_remote_new(void);
/* No server that was given it may be left. */
void sasl_remote_free(struct sasl_remote *r);
/* New dialogues go here from now on. */
void sasl_remote_set_channel(struct sasl_remote *r, struct channel *ch);
/* The channel is about to be freed: who waits for it hears so. */
void sasl_remote_lost(struct sasl_remote *r, struct channel *ch);
/* Are there dialogues under way on it, or do new ones begin there? */
bool sasl_remote_uses(const struct sasl_remote *r, const struct channel *ch);
/* Takes a message from lookup; false when it is none of AUTH. */
bool sasl_remote_take(struct sasl_remote *r, const struct message *m);

/* Before the first question to the server. */
void sasl_server_set_remote(struct sasl_server *s, struct sasl_remote *r);
