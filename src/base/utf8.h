/* SPDX-License-Identifier: Apache-2.0 */
/* Text from strangers: is it UTF-8, and may it be shown? */
#pragma once

#include <stdbool.h>

#include "base/str.h"

/* Are these bytes well-formed UTF-8 (RFC 3629)? */
bool utf8_is_valid(struct str s);
/* Control characters (those above 127 too), bytes that are no UTF-8, and the characters of `also` become "?". */
void text_neutralize(char *text, size_t len, const char *also);
