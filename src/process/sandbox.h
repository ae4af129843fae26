/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving up rights, for good: ids, files (Landlock) and system calls (seccomp).
 * Builds with a sanitizer keep their system calls: its run time needs more of them.
 */
#pragma once

#include "base/buf.h"
#include "process/rights.h"

/* Becomes `user` with its groups. Does nothing unless root. -ENOENT, -EPERM with the reason in *why. */
[[nodiscard]] int sandbox_become(const char *user, struct buf *why);
/* As many open files as the hard limit allows. */
void sandbox_raise_file_limit(void);
/*
 * No new privileges, then Landlock where the kernel has it, then the system-call filter.
 * `folder` is the one that WRITE_SPOOL or WRITE_DATA opens.
 */
[[nodiscard]] int sandbox_enter(const struct rights *rights, const char *folder, struct buf *why);
/* Does this build filter system calls? */
bool sandbox_has_filter(void);
