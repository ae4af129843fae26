/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that wait for the next message. They are few (as many as deliveries ran at once),
 * live for seconds, and are taken last in, first out, so that those not needed die of age.
 */
#include <errno.h>

#include "base/map.h"
#include "fiber/fiber.h"
#include "role/smtp/connection.h"

enum { KEPT_MAX = 500, SWEEP_MS = 250, SITES_MAX = 2000, BUSY_A_SECOND = 3, DROP_PATIENCE_S = 2 };

/* How often a site is wanted: counted in this second, and in the one before. */
struct site {
	int64_t second;
	unsigned now;
	unsigned before;
};

static struct map sites;

static struct list kept;
static size_t kept_count;
static size_t closing_count; /* of those that were kept: QUIT is said */
static struct wait_list all_closed;
static struct fiber *sweeper;

static void kept_remove(struct connection *c)
{
	list_remove(&c->link);
	kept_count--;
}

static void close_kept(void *c)
{
	connection_close(c);
	if (!--closing_count)
		wait_list_wake_all(&all_closed);
}

/* On a fiber of its own: a server that is silent at QUIT holds up nobody else. */
static void kept_close(struct connection *c)
{
	kept_remove(c);
	closing_count++;
	fiber_start("quit", close_kept, c);
}

/* Ends what has waited too long; lives while anything is kept. */
static void sweep(void *unused)
{
	while (kept_count && !fiber_sleep(duration_ms(SWEEP_MS))) {
		struct list *last;

		while (kept_count && (last = kept.prev) != &kept) {
			struct connection *c = LIST_ENTRY(last, struct connection, link);

			if (instant_is_before(clock_now(), c->kept_until))
				break;
			kept_close(c);
		}
	}
	sweeper = NULL;
}

static void sites_forget(void)
{
	size_t at = 0;
	struct str key;
	void *site;

	while (map_next(&sites, &at, &key, &site))
		free(site);
	map_done(&sites);
	sites = MAP_INIT;
}

bool connection_note_demand(struct str key)
{
	int64_t second = clock_now().ns / NS_PER_S;
	struct site *site = map_find(&sites, key);

	if (!site) {
		/* Those in demand are soon back. */
		if (map_count(&sites) >= SITES_MAX)
			sites_forget();
		site = mem_alloc(sizeof(*site));
		(void)map_set(&sites, key, site);
	}
	if (site->second != second) {
		site->before = site->second + 1 == second ? site->now : 0;
		site->now = 0;
		site->second = second;
	}
	site->now++;
	return site->now + site->before > BUSY_A_SECOND;
}

bool connection_is_reusable(const struct connection *c)
{
	const struct smtp_settings *s = c->settings;

	return !c->is_broken && !c->is_spent && !c->has_quit && s->caches_on_demand &&
	       (!s->reuse_count || c->use_count < (unsigned long long)s->reuse_count) &&
	       instant_is_before(clock_now(), instant_after(c->opened_at, s->reuse_time)) &&
	       (!c->trust_ends.ns || instant_is_before(clock_now(), c->trust_ends));
}

void connection_keep(struct connection *c, struct str key)
{
	if (!kept.next) {
		list_init(&kept);
		wait_list_init(&all_closed);
	}
	if (!connection_is_reusable(c) || kept_count + closing_count >= KEPT_MAX) {
		connection_close(c);
		return;
	}
	if (!c->key)
		c->key = str_cstr(key);
	c->kept_until = clock_deadline(c->settings->cache_time);
	stream_idle(c->stream);
	list_add_first(&kept, &c->link);
	kept_count++;
	if (!sweeper)
		sweeper = fiber_start("cache", sweep, NULL);
}

struct connection *connection_take(struct str key)
{
	if (!kept.next)
		return NULL;
	LIST_EACH(&kept, it) {
		struct connection *c = LIST_ENTRY(it, struct connection, link);

		if (!str_eq(str_of(c->key), key))
			continue;
		kept_remove(c);
		if (stream_is_quiet(c->stream))
			return c;
		/* It has hung up, or has something to say that we did not ask for. */
		connection_free(c);
	}
	return NULL;
}

void connection_drop_kept(void)
{
	struct instant deadline = clock_deadline(duration_s(DROP_PATIENCE_S));

	sites_forget();
	while (kept_count)
		kept_close(LIST_ENTRY(kept.next, struct connection, link));
	while (closing_count && !wait_list_wait(&all_closed, deadline))
		;
}
