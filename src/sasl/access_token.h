/* SPDX-License-Identifier: Apache-2.0 */
/* Access tokens as files hold them and commands print them, and such commands. */
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

/*
 * The first line or, in an object of JSON (RFC 6749, 5.1), "access_token"; *ret_lifetime is its "expires_in" in seconds, or -1
 * when nothing is said. -EINVAL for what holds no token, or one that the mechanisms could not carry.
 */
[[nodiscard]] int access_token_parse(struct str text, struct arena *a, struct str *ret_token, int64_t *ret_lifetime);
/*
 * smtp_sasl_token_command as arguments, each ended by a NUL, the last one the login name. Words are parted by blanks; {...} is
 * one word. -EINVAL with the reason.
 */
[[nodiscard]] int token_command_parse(struct str command, struct str user, struct buf *arguments, struct buf *why);
