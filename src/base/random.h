/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Bytes good enough for secrets, from the kernel. */
void random_bytes(void *ptr, size_t len);
/* Even over [0, limit); limit must not be 0. For shuffling and jitter. */
uint32_t random_below(uint32_t limit);
