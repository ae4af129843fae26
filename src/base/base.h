/* SPDX-License-Identifier: Apache-2.0 */
/* Words that every layer uses: attributes, array sizes, memory that never fails. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* A function that may suspend the calling fiber carries this mark. */
#if defined(__clang__)
#define WAITS __attribute__((annotate("waits")))
#else
#define WAITS
#endif

#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

static inline size_t size_min(size_t a, size_t b)
{
	return a < b ? a : b;
}

static inline size_t size_max(size_t a, size_t b)
{
	return a > b ? a : b;
}

/*
 * Memory. Running out ends the process with a message: its supervisor starts it
 * again, and what strangers can make us allocate is limited elsewhere.
 * mem_alloc() gives zeroed bytes. Release with free().
 */
[[nodiscard]] void *mem_alloc(size_t size);
[[nodiscard]] void *mem_resize(void *ptr, size_t size);
[[nodiscard]] char *mem_strdup(const char *text);

/* Ends the process with a message on stderr; for broken invariants only. Never returns. */
_Noreturn void die(const char *fmt, ...) PRINTF_LIKE(1, 2);
