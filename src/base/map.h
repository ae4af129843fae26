/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash table from byte strings to pointers. Keys are copied. The hash is keyed
 * with random bytes, so a stranger cannot choose colliding keys.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct map_slot;

struct map {
	struct map_slot *slots;
	size_t size;  /* of slots, a power of two or 0 */
	size_t count; /* entries */
	size_t fill;  /* entries and tombstones */
};

/* A zeroed map is empty and ready for use. */
#define MAP_INIT ((struct map){0})

/* NULL if there is none. */
void *map_find(const struct map *m, struct str key);
/* Returns the earlier value, or NULL. `value` must not be NULL. */
void *map_set(struct map *m, struct str key, void *value);
/* Returns the removed value, or NULL. */
void *map_remove(struct map *m, struct str key);
size_t map_count(const struct map *m);
/* Walks in no order: start with *at = 0; the current entry may be removed in the walk. */
bool map_next(const struct map *m, size_t *at, struct str *ret_key, void **ret_value);
/* Frees the table and the keys, not the values. */
void map_done(struct map *m);

/* The keyed hash itself (SipHash-1-3), for other tables. */
unsigned long long hash_bytes(const void *ptr, size_t len);
/* With a key of the caller's, for tables that processes share. */
unsigned long long hash_bytes_keyed(const uint64_t key[2], const void *ptr, size_t len);
