/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hash tables with open addressing and linear probing, at most three quarters
 * full. A removed entry leaves a tombstone until the table is rebuilt.
 */
#include "base/map.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/base.h"

struct map_slot {
	unsigned long long hash;
	char *key; /* NULL: free or tombstone */
	size_t key_len;
	void *value;
	bool is_tombstone;
};

static uint64_t rotate_left(uint64_t x, int bits)
{
	return (x << bits) | (x >> (64 - bits));
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotate_left(v[1], 13) ^ v[0];
	v[0] = rotate_left(v[0], 32);
	v[2] += v[3];
	v[3] = rotate_left(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotate_left(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotate_left(v[1], 17) ^ v[2];
	v[2] = rotate_left(v[2], 32);
}

static const uint64_t *hash_key(void)
{
	static uint64_t key[2];

	if (key[0] == 0 && getrandom(key, sizeof key, 0) != (ssize_t)sizeof key)
		die("no random bytes for hash tables");
	if (key[0] == 0)
		key[0] = 1;
	return key;
}

unsigned long long hash_bytes(const void *ptr, size_t len)
{
	return hash_bytes_keyed(hash_key(), ptr, len);
}

unsigned long long hash_bytes_keyed(const uint64_t key[2], const void *ptr, size_t len)
{
	const unsigned char *bytes = ptr;
	uint64_t v[4] = {key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d, key[0] ^ 0x6c7967656e657261,
	                 key[1] ^ 0x7465646279746573};
	uint64_t word;
	size_t i;

	for (i = 0; i + 8 <= len; i += 8) {
		memcpy(&word, bytes + i, 8);
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	word = (uint64_t)len << 56;
	for (size_t shift = 0; i < len; i++, shift += 8)
		word |= (uint64_t)bytes[i] << shift;
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
	v[2] ^= 0xff;
	for (int round = 0; round < 3; round++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static struct map_slot *slot_find(const struct map *m, struct str key, unsigned long long hash)
{
	if (m->size == 0)
		return NULL;
	for (size_t at = hash & (m->size - 1);; at = (at + 1) & (m->size - 1)) {
		struct map_slot *slot = &m->slots[at];

		if (!slot->key && !slot->is_tombstone)
			return NULL;
		if (slot->key && slot->hash == hash && str_eq(str_n(slot->key, slot->key_len), key))
			return slot;
	}
}

static struct map_slot *slot_free(const struct map *m, unsigned long long hash)
{
	size_t at = hash & (m->size - 1);

	while (m->slots[at].key || m->slots[at].is_tombstone)
		at = (at + 1) & (m->size - 1);
	return &m->slots[at];
}

static void map_rebuild(struct map *m)
{
	struct map_slot *old = m->slots;
	size_t old_size = m->size;

	m->size = 8;
	while (m->size * 3 / 4 <= m->count * 3 / 2 + 1)
		m->size *= 2;
	m->slots = mem_alloc(m->size * sizeof *m->slots);
	m->fill = m->count;
	for (size_t i = 0; i < old_size; i++)
		if (old[i].key)
			*slot_free(m, old[i].hash) = old[i];
	free(old);
}

void *map_find(const struct map *m, struct str key)
{
	struct map_slot *slot = m->count ? slot_find(m, key, hash_bytes(key.ptr, key.len)) : NULL;

	return slot ? slot->value : NULL;
}

void *map_set(struct map *m, struct str key, void *value)
{
	unsigned long long hash = hash_bytes(key.ptr, key.len);
	struct map_slot *slot = slot_find(m, key, hash);

	if (slot) {
		void *earlier = slot->value;

		slot->value = value;
		return earlier;
	}
	if (m->fill + 1 > m->size * 3 / 4)
		map_rebuild(m);
	slot = slot_free(m, hash);
	*slot = (struct map_slot){.hash = hash, .key = str_cstr(key), .key_len = key.len, .value = value};
	m->count++;
	m->fill++;
	return NULL;
}

void *map_remove(struct map *m, struct str key)
{
	struct map_slot *slot = slot_find(m, key, hash_bytes(key.ptr, key.len));
	void *value;

	if (!slot)
		return NULL;
	value = slot->value;
	free(slot->key);
	*slot = (struct map_slot){.is_tombstone = true};
	m->count--;
	return value;
}

size_t map_count(const struct map *m)
{
	return m->count;
}

bool map_next(const struct map *m, size_t *at, struct str *ret_key, void **ret_value)
{
	for (; *at < m->size; ++*at) {
		const struct map_slot *slot = &m->slots[*at];

		if (!slot->key)
			continue;
		if (ret_key)
			*ret_key = str_n(slot->key, slot->key_len);
		if (ret_value)
			*ret_value = slot->value;
		++*at;
		return true;
	}
	return false;
}

void map_done(struct map *m)
{
	for (size_t i = 0; i < m->size; i++)
		free(m->slots[i].key);
	free(m->slots);
	*m = MAP_INIT;
}
