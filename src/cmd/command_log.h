/* SPDX-License-Identifier: Apache-2.0 */
/* The mail log, for commands that write to it. */
#pragma once

#include "config/config.h"

/*
 * Lines go where this configuration sends them: to syslog, or to maillog_file when the
 * caller may write there; a person without that right sees them on the terminal only.
 */
void command_log_open(const struct view *v);
