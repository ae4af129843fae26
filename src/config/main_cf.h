/* SPDX-License-Identifier: Apache-2.0 */
/* Reading main.cf: "name = value" lines in the order in which they stand. */
#pragma once

#include "config/config_internal.h"

/* Takes all entries of `bytes` into the configuration; problems are noted under the name `file`. */
void main_cf_parse(struct config *c, struct str file, struct str bytes);
/*
 * "name = value" of a line or an option: name and value without blanks around them.
 * Fails with -EINVAL and what is wrong.
 */
[[nodiscard]] int main_cf_split(struct str text, struct str *ret_name, struct str *ret_value, const char **why);
