/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mail addresses. The external form is what stands in commands and headers, local part
 * quoted where it must be: "a b"@example.org. The internal form, used everywhere in the
 * program, is plain: a b@example.org. Its domain begins behind the last @.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

enum address_flag {
	ADDRESS_STRICT = 1, /* strict_rfc821_envelopes: angle brackets required, no blanks around */
	ADDRESS_EMPTY = 2,  /* <> is allowed */
	ADDRESS_UTF8 = 4,   /* UTF-8 is allowed */
};

/*
 * Takes a path as MAIL and RCPT have it off the front of *rest: "<@route:local@domain>",
 * or without brackets up to a blank unless strict. Source routes are dropped. Fails with
 * -EINVAL and leaves *rest alone. The result is the internal form, in the arena.
 */
[[nodiscard]] int address_parse_path(struct str *rest, unsigned flags, struct arena *a, struct str *ret_address);
/* A bare mailbox in external form to internal form. -EINVAL. */
[[nodiscard]] int address_parse(struct str external, unsigned flags, struct arena *a, struct str *ret_address);
/* Appends the external form, without brackets. */
void address_format(struct buf *to, struct str internal);
struct str address_external(struct arena *a, struct str internal);

/* Domain behind the last @; false, and the whole as local part, when there is none. */
bool address_split(struct str internal, struct str *ret_local, struct str *ret_domain);
struct str address_domain(struct str internal);
/* Does it hold bytes above 127? */
bool str_is_8bit(struct str s);
