/* SPDX-License-Identifier: Apache-2.0 */
/* REQUIRETLS (RFC 8689): how much of it is asked of which destination, as smtp_requiretls_policy says. */
#pragma once

#include "base/arena.h"
#include "base/base.h"
#include "base/buf.h"
#include "base/str.h"

struct requiretls_policy;
struct tls_policy;
struct view;

/* In the order of their strength. */
enum requiretls {
	REQUIRETLS_OPPORTUNISTIC, /* passed on where it is offered */
	REQUIRETLS_STARTTLS,      /* the same, but never in clear */
	REQUIRETLS_ENFORCE        /* the server must be who it should be, and offer REQUIRETLS itself */
};

/* "type:table" and words: "inline:{a.example=opportunistic}, enforce". */
[[nodiscard]] int requiretls_policy_open(struct str text, unsigned flags, const struct view *view,
                                         struct requiretls_policy **ret_policy, struct buf *why);
/* Also while others look something up in it. */
void requiretls_policy_close(struct requiretls_policy *p);
/* Was the file of a table replaced? */
bool requiretls_policy_has_changed(const struct requiretls_policy *p);
/* The first element that knows the destination decides; REQUIRETLS_ENFORCE when none does. -EINVAL and other errors of tables. */
[[nodiscard]] int requiretls_policy_find(struct requiretls_policy *p, struct str domain, struct arena *a,
                                         enum requiretls *ret_demand, struct buf *why) WAITS;
