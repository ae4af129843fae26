/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with a configuration, told to its operator: master and `postfix` say it alike. */
#pragma once

#include "config/config.h"

/* The value that comes with SIGHUP when who sends it has told what is wrong with the configuration. */
enum { RELOAD_CHECKED = 1 };

/* Logs every problem as "FILE:LINE: what is wrong and what to write instead"; returns how many are errors. */
int problems_log(const struct config *c);
