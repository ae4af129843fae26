/* SPDX-License-Identifier: Apache-2.0 */
/* Reading master.cf: a service a line, its fields, arguments and -o settings. */
#pragma once

#include "config/config_internal.h"

/* Takes all services of `bytes` into the configuration; problems are noted under the name `file`. */
void master_cf_parse(struct config *c, struct str file, struct str bytes);
