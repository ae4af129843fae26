/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MTA-STS in a TLS policy: what a table tells about one that another program found (policy_type=sts ...), and
 * what we find ourselves. Both end in the same fields and are obeyed by the same code.
 */
#pragma once

#include "role/smtp/smtp_settings.h"
#include "role/smtp/tls_policy.h"

/* policy_type, policy_domain, policy_string, mx_host_pattern ... -ENOENT when `name` is none of these; -EINVAL with the reason.
 */
[[nodiscard]] int sts_policy_attribute(struct tls_policy *p, struct str name, struct str value, struct arena *a, struct buf *why);
/* After the last attribute. -EINVAL when those there are do not go together. */
[[nodiscard]] int sts_policy_complete(struct tls_policy *p, bool enforces_patterns, struct buf *why);

/* Does our own MTA-STS have a say at this level? What the operator demands beyond it stands. */
bool sts_policy_applies(const struct smtp_settings *s, const struct tls_policy *p);
/*
 * Finds the policy of p->domain and puts its demands into `p`. -EAGAIN with the reason when it cannot be known
 * now; -ECANCELED.
 */
[[nodiscard]] int sts_policy_find(struct tls_policy *p, struct arena *a, struct buf *why) WAITS;
/* What a policy's text demands; apart from the asking, for tests. */
void sts_policy_apply(struct tls_policy *p, struct str text, struct arena *a);
/* Is this mail host one that the policy names? Without patterns every host is. */
bool sts_policy_names_host(const struct tls_policy *p, struct str host);
