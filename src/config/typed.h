/* SPDX-License-Identifier: Apache-2.0 */
/* From the text of a parameter to its typed value in struct params. */
#pragma once

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "config/param.h"
#include "config/params.h"

/*
 * Reads `text` as parameter `p` says and stores it in its field. -EINVAL or -ERANGE with
 * what is wrong and what to write instead in `why`; the field is untouched then. Text
 * fields become views of `text`.
 */
[[nodiscard]] int typed_store(struct params *to, const struct param *p, struct str text, struct buf *why);
/* The same without storing it: for members of a family, which have no field. */
[[nodiscard]] int typed_check(const struct param *p, struct str text, struct buf *why);

/* "yes" or "no" in any case. */
[[nodiscard]] int typed_bool(struct str text, bool *ret_value);
/* "5", "5s", "1h": seconds. A bare number has the given unit. */
[[nodiscard]] int typed_time(struct str text, char unit, int64_t *ret_seconds);
