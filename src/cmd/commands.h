/* SPDX-License-Identifier: Apache-2.0 */
/* The functions behind the commands, and what they share. */
#pragma once

#include <stddef.h>

#include "base/base.h"
#include "base/str.h"

#define COMMAND(name, brief, usage) int cmd_##name(int argc, char **argv);
#include "cmd/commands.def"
#undef COMMAND

/* The configuration folder: `option` if it is not NULL, else $MAIL_CONFIG, else /etc/postfix. */
struct str command_config_dir(const char *option);
