/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The expansion language of main.cf:
 *
 *	$name ${name} $(name)                   the value of another parameter
 *	$$                                      a dollar sign
 *	${name?text} ${name?{text}}             text if name has a value that is not empty
 *	${name:text} ${name:{text}}             text if it has none
 *	${name?{text}:{other}}                  one or the other
 *	${{x} == {y} ? {text} : {other}}        comparisons: == != < <= > >=, by number if both are
 *	                                        digits, and with the suffix "level" by version
 *	${domain_to_ascii{text}}                the domain in lower case
 *
 * Names are resolved by a function, so the same language serves main.cf, pipe commands and reply templates.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

struct expand {
	/*
	 * The value of a name. With is_test only whether it is empty will count, so it
	 * need not be expanded. -ENOENT for an unknown name, which counts as empty; other
	 * errors end the expansion, with `why` set.
	 */
	int (*get)(struct expand *e, struct str name, bool is_test, struct str *ret_value);
	void *context;
	const char *why; /* after an error: what is wrong */
	unsigned depth;  /* of nested conditions; starts at 0 */
};

/* Appends the expanded text. -EINVAL for wrong syntax, -ELOOP, -EMSGSIZE; then e->why says more. */
[[nodiscard]] int expand_text(struct expand *e, struct str text, struct buf *to);
/* Has it anything to expand at all? */
static inline bool expand_is_literal(struct str text)
{
	return !str_has(text, '$');
}

/* <0, 0, >0 as level `a` is older, same or newer than `b` ("3.6"). -EINVAL if one is no level. */
[[nodiscard]] int expand_compare_levels(struct str a, struct str b, int *ret_order);
