/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MTA-STS policies in the store. Their number has a limit, for any stranger whom mail goes to may publish some: each
 * one that is kept makes room by removing a few that have ended, or any when the limit is reached.
 */
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "base/base.h"
#include "base/str.h"

struct sts_cached {
	struct str id, text;
	uint64_t fetched_at; /* seconds since 1970 */
	uint32_t max_age;
};

/* -ENOENT when there is none that still holds at `now`; else as store_get(). */
[[nodiscard]] int sts_cache_get(struct str domain, uint64_t now, struct arena *a, struct sts_cached *ret_cached);
/* Keeps a policy fetched just now, among `most` at most. As store_write(). */
[[nodiscard]] int sts_cache_put(struct str domain, const struct sts_cached *c, size_t most) WAITS;
