/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of a server that is down, read from its index: mail that was deferred or held. */
#pragma once

#include "base/str.h"
#include "ipc/message.h"

/*
 * Gives all messages to `item`, as QUEUE_ITEM and QUEUE_RECIPIENT; it ends the walk with an error. New mail that
 * was not tried yet is in no index and not shown. -ENOENT without an index, -EACCES where it may not be read.
 */
[[nodiscard]] int offline_queue_list(struct str queue_directory, int (*item)(const struct message *m, void *arg), void *arg);
