/* SPDX-License-Identifier: Apache-2.0 */
/* MTA-STS (RFC 8461): the TXT record that announces a policy, the policy itself, and which hosts it names. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/base.h"
#include "base/buf.h"
#include "base/str.h"

enum { STS_POLICY_SIZE_MAX = 64 * 1024, STS_MX_MAX = 1000, STS_AGE_MAX = 31557600 };

enum sts_mode { STS_MODE_NONE, STS_MODE_TESTING, STS_MODE_ENFORCE };

struct sts_policy {
	enum sts_mode mode;
	uint32_t max_age; /* seconds, at most STS_AGE_MAX */
	struct str *mx;   /* patterns in lower case: "mx.example.org", "*.example.org" */
	size_t mx_count;
};

/* Does a TXT record say that it is one of ours? Others at the same name do not count. */
bool sts_record_is_ours(struct str text);
/* "v=STSv1; id=20260101;": the id, a view into `text`. -EINVAL for what RFC 8461, 3.1, does not allow. */
[[nodiscard]] int sts_record_parse(struct str text, struct str *ret_id);
/* The file of RFC 8461, 3.2. -EINVAL with the reason in `why`. Fields that nobody knows are passed over. */
[[nodiscard]] int sts_policy_parse(struct str text, struct arena *a, struct sts_policy *ret_policy, struct buf *why);
/*
 * The same for what a web server answered: only 200 with the media type text/plain is a policy. -EPROTO when
 * this is no policy at all, -EINVAL when it is a bad one.
 */
[[nodiscard]] int sts_answer_parse(long status, struct str media_type, struct str body, struct arena *a,
                                   struct sts_policy *ret_policy, struct buf *why);
/* "*." stands for exactly one label (RFC 8461, 4.1). */
bool sts_pattern_matches(struct str pattern, struct str host);
bool sts_policy_names(const struct sts_policy *p, struct str host);
/* "enforce" */
const char *sts_mode_name(enum sts_mode mode);
