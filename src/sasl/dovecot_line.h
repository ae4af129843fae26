/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of Dovecot's authentication protocol, version 1: fields parted by tabs, and inside
 * a field the byte 1 followed by 0, 1, t, r or n for NUL, 1, tab, CR and LF.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"

enum dovecot_verb { DOVECOT_OTHER, DOVECOT_VERSION, DOVECOT_MECH, DOVECOT_DONE, DOVECOT_OK, DOVECOT_CONT, DOVECOT_FAIL };

struct dovecot_line {
	enum dovecot_verb verb;
	unsigned long long number; /* VERSION: the major number; OK, CONT, FAIL: the request's id */
	struct str text;           /* MECH: the name; CONT: the challenge */
	unsigned flags;            /* MECH: enum mechanism_flag */
	struct str user;           /* OK, FAIL; empty when not told */
	struct str reason;         /* FAIL */
	bool is_temporary;         /* FAIL */
};

/* Unescaped strings lie in the arena. -EBADMSG for a known verb without what belongs to it. */
[[nodiscard]] int dovecot_line_parse(struct str line, struct arena *a, struct dovecot_line *ret_line);
