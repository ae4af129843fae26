/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers that are still good. The resolver library has a cache as well, but asking it costs
 * two thread switches; this one costs a hash. When it is full, it is emptied: simple, and the
 * library behind it softens the blow.
 */
#include "base/map.h"
#include "net/dns_internal.h"

/* Whoever owns a domain says how large its answers are; larger ones than this stay with the library, whose cache counts bytes. */
enum { ANSWER_SIZE_MAX = 16 << 10 };
enum { CACHE_MAX = 4096, TTL_MAX_S = 3600, TTL_NEGATIVE_MAX_S = 60, KEY_MAX = 300 };

struct cache_entry {
	struct arena arena;
	struct dns_answer answer;
	struct instant until;
};

static struct map cache;

static struct str cache_key(struct str name, enum dns_type type, char key[static KEY_MAX])
{
	size_t len = (size_t)snprintf(key, KEY_MAX, "%d ", (int)type);

	if (len + name.len > KEY_MAX)
		return STR("");
	for (size_t i = 0; i < name.len; i++)
		key[len + i] = ascii_lower(name.ptr[i]);
	return str_n(key, len + name.len);
}

void dns_answer_copy(struct dns_answer *to, const struct dns_answer *from, struct arena *a)
{
	*to = *from;
	to->records = from->count ? arena_alloc(a, from->count * sizeof(*from->records)) : NULL;
	for (size_t i = 0; i < from->count; i++) {
		to->records[i] = from->records[i];
		to->records[i].name = arena_str(a, from->records[i].name);
		to->records[i].data = arena_str(a, from->records[i].data);
	}
	to->canonical = arena_str(a, from->canonical);
	to->reason = arena_str(a, from->reason);
}

static void entry_free(struct cache_entry *e)
{
	if (!e)
		return;
	arena_done(&e->arena);
	free(e);
}

bool dns_cache_find(struct str name, enum dns_type type, struct arena *a, struct dns_answer *ret_answer)
{
	char key[KEY_MAX];
	struct str k = cache_key(name, type, key);
	struct cache_entry *e = map_find(&cache, k);
	struct instant now = clock_now();

	if (!e)
		return false;
	if (instant_is_before(e->until, now)) {
		map_remove(&cache, k);
		entry_free(e);
		return false;
	}
	dns_answer_copy(ret_answer, &e->answer, a);
	ret_answer->ttl = (uint32_t)((e->until.ns - now.ns) / NS_PER_S);
	return true;
}

static size_t answer_size(const struct dns_answer *answer)
{
	size_t size = answer->count * sizeof(*answer->records);

	for (size_t i = 0; i < answer->count; i++)
		size += answer->records[i].name.len + answer->records[i].data.len;
	return size;
}

void dns_cache_add(struct str name, enum dns_type type, const struct dns_answer *answer)
{
	uint32_t ttl = (uint32_t)size_min(answer->ttl, answer->status == DNS_FOUND ? TTL_MAX_S : TTL_NEGATIVE_MAX_S);
	char key[KEY_MAX];
	struct str k = cache_key(name, type, key);
	struct cache_entry *e;

	if (!ttl || !k.len || answer->status > DNS_NO_NAME || answer_size(answer) > ANSWER_SIZE_MAX)
		return;
	if (map_count(&cache) >= CACHE_MAX)
		dns_cache_clear();
	e = mem_alloc(sizeof(*e));
	dns_answer_copy(&e->answer, answer, &e->arena);
	e->until = clock_deadline(duration_s(ttl));
	entry_free(map_set(&cache, k, e));
}

void dns_cache_clear(void)
{
	size_t at = 0;
	struct str key;
	void *value;

	while (map_next(&cache, &at, &key, &value))
		entry_free(value);
	map_done(&cache);
	cache = MAP_INIT;
}
