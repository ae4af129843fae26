/* SPDX-License-Identifier: Apache-2.0 */
/* The syntax of host names and address literals, as restrictions judge it. */
#pragma once

#include <stdbool.h>

#include "base/arena.h"

/* Labels of letters, digits, '_' and inner '-', up to 63 bytes each and 255 in all; not digits and dots alone. */
bool host_name_is_valid(struct str name);
/* "192.0.2.1" or "2001:db8::1". */
bool host_address_is_valid(struct str text);
/* "[192.0.2.1]" or "[IPv6:2001:db8::1]". */
bool host_literal_is_valid(struct str text);
/* 4 or 16 bytes as DNS records hold them, to text. */
struct str host_address_format(struct arena *a, struct str bytes);
