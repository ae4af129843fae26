/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that stands beside a role's own and works for it in processes: started before the role gives up its
 * rights, it becomes mail_owner and does nothing but fork a worker for each channel that the role sends it. It ends with the
 * role, whose end of the channel closes then.
 */
#pragma once

#include "base/buf.h"
#include "ipc/channel.h"

enum { HELPER_FD = 3 }; /* where the program finds its channel */

/* For tools, which do not lie where the programs of the roles do. */
void helper_set_folder(struct str folder);
/* `program` lies in the folder of ours; its argument is the user to become. An error comes with its reason. */
[[nodiscard]] int helper_start(const char *program, struct str owner, struct channel **ret_channel, struct buf *why);
/*
 * Has it fork a worker: `m` is what it wants to hear, and goes with one end of a new channel. *ret_channel is ours. -EPIPE
 * when the program is gone.
 */
[[nodiscard]] int helper_fork(struct channel *helper, struct message *m, struct channel **ret_channel);
