/* SPDX-License-Identifier: Apache-2.0 */
/* Functions that do not compile here; every file gets this header from the build. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#undef alloca
#pragma GCC poison strcpy strcat strncpy strncat strtok sprintf vsprintf gets alloca localtime gmtime atoi atol
