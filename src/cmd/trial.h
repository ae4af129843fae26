/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the server can work with a configuration: what the roles would open and parse
 * at their start is opened and parsed here, so that every problem shows at once, with its
 * place, before anything is stopped or started.
 */
#pragma once

#include "config/config.h"

/* Logs each problem once; returns how many are errors. What works in a poorer way (a stale table) is a warning. */
int trial_run(const struct config *c);
