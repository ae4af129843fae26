/* SPDX-License-Identifier: Apache-2.0 */
/* The queue managers at the other end of our channels, and the deliveries they ask for. */
#pragma once

#include "ipc/channel.h"
#include "process/process.h"

/* Serves a queue manager's channel, which is ours from now on. */
void agent_serve(struct process *p, struct channel *ch);
/* Ends the process when the deliveries under way are over. */
void agent_drain(struct process *p);
/* Breaks off deliveries, except where the server may have taken the message already. */
void agent_give_up(struct process *p);
