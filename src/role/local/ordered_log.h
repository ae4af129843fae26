/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a file system writes all changes of its metadata through one log, in order, so
 * that syncing one file makes durable whatever was done before to others of it: XFS, and ext4 with a journal.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* Of the open file; its device comes back as well. When in doubt false. Safe on any thread. */
bool ordered_log_has(int fd, dev_t *ret_device);
