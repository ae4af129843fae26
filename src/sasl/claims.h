/* SPDX-License-Identifier: Apache-2.0 */
/* What an access token says, as JSON: the payload of a JWT (RFC 7519) or the answer of an introspection (RFC 7662). */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"

struct claim_rules {
	struct str issuer;   /* that must be in "iss"; empty: any */
	struct str audience; /* a list, one of which must be in "aud"; empty: any */
	struct str scope;    /* a list, all of which must be in "scope" */
	struct str username; /* the claim that names the user */
	int64_t now;         /* seconds since 1970 */
	bool must_expire;    /* "exp" must be there */
};

/* Parses hostile JSON: an object, not deeper than a few levels, no name twice. NULL. */
[[nodiscard]] json_t *claims_parse(struct str text);
/* 0 and the user, or -EACCES with a static text in *why. */
[[nodiscard]] int claims_check(const json_t *claims, const struct claim_rules *rules, struct arena *a, struct str *ret_username,
                               const char **why);
