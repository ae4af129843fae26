/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who we are to a server: from smtp_sasl_password_maps, "user:password". Where the password is
 * "{token_file=/path}" an access token is read from that file instead, anew for each login; where it is
 * "{token_command}" the lookup role has one, or has it made.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

struct smtp_settings;

struct credentials {
	struct str user;
	struct str secret;
	bool is_token;
	bool is_from_command; /* the token is to be asked for: `secret` is empty until then */
};

/* For which login. */
struct login_place {
	struct str sender; /* of the message */
	struct str host;
	struct str nexthop; /* as the operator wrote it */
};

/*
 * By sender where that is asked for, then by host, then by nexthop. 0, -ENOENT when there are
 * none, or another error with its reason: then nobody knows, and mail waits.
 */
[[nodiscard]] int credentials_find(const struct smtp_settings *s, const struct login_place *place, struct arena *a,
                                   struct credentials *ret, struct buf *why);
