/* SPDX-License-Identifier: Apache-2.0 */
/* The authorized_*_users parameters: which users of this system may. */
#pragma once

#include <sys/types.h>

#include "base/buf.h"
#include "base/str.h"

struct view;

/* 1 when the user is in the list, 0 not, <0 a table failed and *why tells. Without a name in the system he is "unknown". */
[[nodiscard]] int user_list_check(struct str users, uid_t uid, const struct view *v, struct buf *why);
