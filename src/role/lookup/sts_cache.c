/* SPDX-License-Identifier: Apache-2.0 */
/* MTA-STS policies in the store, each under its domain in lower case. */
#include "role/lookup/sts_cache.h"

#include <errno.h>

#include "mail/mta_sts.h"
#include "role/lookup/store.h"

enum { RECORD_VERSION = 1, KEY_MAX = 300, SWEEP_STEPS = 2 };

/* Where the sweep goes on. */
static struct buf hand = BUF_INIT(KEY_MAX);

/* -ENOENT for what does not hold any more. */
static int decode(struct str record, uint64_t now, struct sts_cached *ret_cached)
{
	struct cursor c = {.rest = record};
	struct sts_cached cached;

	if (cursor_u8(&c) != RECORD_VERSION)
		return -ENOENT;
	cached.fetched_at = cursor_u64(&c);
	cached.max_age = cursor_u32(&c);
	cached.id = cursor_lstr(&c);
	cached.text = cursor_lstr(&c);
	/* A clock that was set back makes nothing live for longer than its age. */
	if (c.is_bad || cached.fetched_at > now || now - cached.fetched_at >= cached.max_age)
		return -ENOENT;
	*ret_cached = cached;
	return 0;
}

int sts_cache_get(struct str domain, uint64_t now, struct arena *a, struct sts_cached *ret_cached)
{
	struct str record;
	int err = store_get(STORE_STS, domain, a, &record);

	return err ? err : decode(record, now, ret_cached);
}

/* The entries that are to go with this change, from the hand on; how many. */
static size_t sweep(struct store_change changes[static SWEEP_STEPS], uint64_t now, bool is_full, struct arena *a)
{
	size_t count = 0;

	for (int i = 0; i < SWEEP_STEPS; i++) {
		struct sts_cached unused;
		struct str key, record;

		if (store_next(STORE_STS, buf_str(&hand), a, &key, &record)) {
			buf_reset(&hand);
			continue;
		}
		/* The next key there can be: no domain has a "!". */
		buf_reset(&hand);
		buf_addf(&hand, "%.*s!", STR_ARG(key));
		if (is_full || decode(record, now, &unused))
			changes[count++] = (struct store_change){.table = STORE_STS, .key = key};
	}
	return count;
}

int sts_cache_put(struct str domain, const struct sts_cached *c, size_t most)
{
	struct buf record = BUF_INIT(STS_POLICY_SIZE_MAX + 1024);
	struct store_change changes[SWEEP_STEPS + 1];
	struct arena a = ARENA_INIT;
	size_t count = sweep(changes, c->fetched_at, store_count(STORE_STS) >= most, &a);
	int err;

	buf_add_u8(&record, RECORD_VERSION);
	buf_add_u64(&record, c->fetched_at);
	buf_add_u32(&record, c->max_age);
	buf_add_lstr(&record, c->id);
	buf_add_lstr(&record, c->text);
	changes[count++] = (struct store_change){.table = STORE_STS, .key = domain, .value = buf_str(&record)};
	err = store_write(changes, count);
	buf_done(&record);
	arena_done(&a);
	return err;
}
