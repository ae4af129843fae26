/* SPDX-License-Identifier: Apache-2.0 */
/* Where the programs of the roles lie. */
#pragma once

#include "base/buf.h"

/* In the tree of a build and in an installed one; $POSTRIDER_LIBEXEC goes first. -ENOENT. */
[[nodiscard]] int libexec_find(struct buf *to);
