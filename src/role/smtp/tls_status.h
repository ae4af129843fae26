/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the field tls= of a delivery line tells (smtp_log_tls_feature_status): the level that was wanted, what it came to, and
 * REQUIRETLS where the message asks for it, with a slash between.
 *
 *	secure           the level was kept
 *	may:none         the connection was used with less (or with more), as the level allows
 *	dane?            it never came to that: no host could be reached, or a handshake broke
 *	!secure:encrypt  a host was not used, because it gives this and no more
 */
#pragma once

#include "role/smtp/smtp_delivery.h"

/* For the host that is tried now; `c` is NULL where no connection came to be. Empty when it is off or nothing was tried yet. */
struct str tls_status(struct delivery *d, const struct verdict *v, const struct connection *c);
