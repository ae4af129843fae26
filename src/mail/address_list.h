/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the addresses in the value of a header (RFC 5322 address lists, groups, comments, routes). */
#pragma once

#include <stdbool.h>

#include "base/str.h"

struct address_list {
	struct str text;
	size_t at;
};

/*
 * The next address: *ret_spec is "local@domain" inside the text, in external form, a route before it. Skips
 * names, comments, groups and what makes no sense. <> is skipped as well.
 */
bool address_list_next(struct address_list *l, struct str *ret_spec);
