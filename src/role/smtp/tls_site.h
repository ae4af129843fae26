/* SPDX-License-Identifier: Apache-2.0 */
/* smtp_tls_per_site, the table that policies took the place of: NONE, MAY, MUST_NOPEERMATCH and MUST by nexthop and by host. */
#pragma once

#include "role/smtp/smtp_settings.h"

/*
 * The level for this host on the way to this nexthop, from what the table says about either and from *level, which is what the
 * parameters say. `host` may be empty. -EINVAL or a table's error with the reason.
 */
[[nodiscard]] int tls_site_level(const struct smtp_settings *s, struct str nexthop, struct str host, struct str *level,
                                 struct buf *why);
