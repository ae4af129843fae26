/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table: a head with the key of the hash, then slots. A client stands in one of the PROBES slots
 * behind the place that its hash gives.
 *
 * A slot's `key` is 0 (free), a column's number plus one (that process is about to give the slot to
 * another client), or a hash, whose highest bit is set. To count a connection a process first adds it to its
 * column and then looks at the key again: who takes a slot first changes the key and then looks at all
 * columns again, so one of the two sees the other and steps back. Two processes that meet
 * a new client at the very same moment may each make a slot for it; from the next connection on both find the first.
 *
 * An event's word holds its count and, in the upper half, the time unit that it counts for: a
 * new unit needs no clearing. Nothing that stands in the table is believed further than a number: any process may be hostile.
 */
#include "ipc/client_counts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/map.h"
#include "base/random.h"

enum { SLOTS = 32768, PROBES = 32, TRIES = 4, BUSY_LASTS_MS = 100 };

#define IS_HASH (UINT64_C(1) << 63)

struct client_slot {
	_Atomic uint64_t key;
	_Atomic uint64_t window; /* when the present time unit began: milliseconds of the monotonic clock */
	_Atomic uint64_t events[CLIENT_EVENTS_MAX];
	_Atomic uint16_t connections[CLIENT_COLUMNS];
};

struct table {
	uint64_t hash_key[2];
	_Atomic uint64_t busy_at[CLIENT_COLUMNS]; /* by rank: milliseconds of the monotonic clock, 0 for never */
	struct client_slot slots[SLOTS];
};

struct client_counts {
	struct table *table;
	uint32_t column;
};

static int map_table(int fd, uint32_t column, struct client_counts **ret_counts)
{
	int flags = fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
	void *bytes = mmap(NULL, sizeof(struct table), PROT_READ | PROT_WRITE, flags, fd, 0);
	struct client_counts *cc;

	if (bytes == MAP_FAILED)
		return -errno;
	cc = mem_alloc(sizeof(*cc));
	*cc = (struct client_counts){.table = bytes, .column = column};
	*ret_counts = cc;
	return 0;
}

int client_counts_create(int *ret_fd, struct client_counts **ret_counts)
{
	int fd = memfd_create("postrider-clients", MFD_CLOEXEC | MFD_ALLOW_SEALING), err = 0;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, sizeof(struct table)) || fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW))
		err = -errno;
	if (!err)
		err = map_table(fd, 0, ret_counts);
	if (err) {
		close(fd);
		return err;
	}
	random_bytes((*ret_counts)->table->hash_key, sizeof((*ret_counts)->table->hash_key));
	*ret_fd = fd;
	return 0;
}

int client_counts_open(int fd, uint32_t column, struct client_counts **ret_counts)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	/* A file that could be made shorter would end us with a signal. */
	if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(fd, &st) || st.st_size != sizeof(struct table) ||
	    column >= CLIENT_COLUMNS)
		return -EBADMSG;
	return map_table(fd, column, ret_counts);
}

int client_counts_private(struct client_counts **ret_counts)
{
	int err = map_table(-1, 0, ret_counts);

	if (!err)
		random_bytes((*ret_counts)->table->hash_key, sizeof((*ret_counts)->table->hash_key));
	return err;
}

void client_counts_close(struct client_counts *cc)
{
	if (!cc)
		return;
	munmap(cc->table, sizeof(struct table));
	free(cc);
}

void client_counts_clear(struct client_counts *cc, uint32_t column)
{
	if (column >= CLIENT_COLUMNS)
		return;
	for (size_t i = 0; i < SLOTS; i++) {
		struct client_slot *s = &cc->table->slots[i];
		uint64_t taken_by = column + 1;

		if (atomic_load(&s->connections[column]))
			atomic_store(&s->connections[column], 0);
		(void)atomic_compare_exchange_strong(&s->key, &taken_by, 0);
	}
}

static uint32_t connections_of(struct client_slot *s)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < CLIENT_COLUMNS; i++)
		sum += atomic_load(&s->connections[i]);
	return sum;
}

static uint64_t ms_of(struct instant t)
{
	return (uint64_t)(t.ns / 1000000);
}

void client_counts_tell_busy(struct client_counts *cc, uint32_t rank, struct instant now)
{
	if (rank < CLIENT_COLUMNS)
		atomic_store_explicit(&cc->table->busy_at[rank], ms_of(now), memory_order_relaxed);
}

bool client_counts_lower_are_busy(struct client_counts *cc, uint32_t rank, struct instant now)
{
	for (uint32_t i = 0; i < rank && i < CLIENT_COLUMNS; i++) {
		uint64_t at = atomic_load_explicit(&cc->table->busy_at[i], memory_order_relaxed);

		if (!at || (at < ms_of(now) && ms_of(now) - at > BUSY_LASTS_MS))
			return false;
	}
	return true;
}

static bool is_over(uint64_t window, uint64_t now, struct duration unit)
{
	return window == 0 || window > now || now - window > (uint64_t)(unit.ns / 1000000);
}

/* Counts a connection in our column if the slot is the client's still. */
static bool hold(struct client_counts *cc, struct client_slot *s, uint64_t hash)
{
	_Atomic uint16_t *mine = &s->connections[cc->column];
	uint16_t before = atomic_load(mine);

	if (atomic_load(&s->key) != hash || before == UINT16_MAX)
		return false;
	atomic_store(mine, (uint16_t)(before + 1));
	if (atomic_load(&s->key) == hash)
		return true;
	atomic_store(mine, before);
	return false;
}

/* Takes a slot that nobody is connected in from its client. */
static bool take(struct client_counts *cc, struct client_slot *s, uint64_t hash)
{
	uint64_t old = atomic_load(&s->key);

	if ((old && !(old & IS_HASH)) || connections_of(s) > 0 || !atomic_compare_exchange_strong(&s->key, &old, cc->column + 1))
		return false;
	if (connections_of(s) > 0) {
		atomic_store(&s->key, old);
		return false;
	}
	atomic_store(&s->window, 0);
	for (size_t i = 0; i < CLIENT_EVENTS_MAX; i++)
		atomic_store(&s->events[i], 0);
	atomic_store(&s->connections[cc->column], 1);
	atomic_store(&s->key, hash);
	return true;
}

static struct client_slot *slot_at(struct client_counts *cc, uint64_t hash, size_t probe)
{
	return &cc->table->slots[(hash + probe) % SLOTS];
}

static struct client_slot *find(struct client_counts *cc, uint64_t hash)
{
	for (size_t i = 0; i < PROBES; i++)
		if (hold(cc, slot_at(cc, hash, i), hash))
			return slot_at(cc, hash, i);
	return NULL;
}

/* A free slot, else one whose client has not been seen for a time unit, else one whose client is away. */
static struct client_slot *take_any(struct client_counts *cc, uint64_t hash, struct duration unit)
{
	uint64_t now = ms_of(clock_now());

	for (int need = 0; need < 3; need++) {
		for (size_t i = 0; i < PROBES; i++) {
			struct client_slot *s = slot_at(cc, hash, i);
			bool may = need == 2 || (need == 1 ? is_over(atomic_load(&s->window), now, unit) : !atomic_load(&s->key));

			if (may && take(cc, s, hash))
				return s;
		}
	}
	return NULL;
}

struct client_slot *client_enter(struct client_counts *cc, struct str client, struct duration unit, uint32_t *ret_count)
{
	uint64_t hash = hash_bytes_keyed(cc->table->hash_key, client.ptr, client.len) | IS_HASH;
	struct client_slot *s = NULL;

	for (int i = 0; i < TRIES && !s; i++) {
		s = find(cc, hash);
		if (!s)
			s = take_any(cc, hash, unit);
	}
	if (s)
		*ret_count = connections_of(s);
	return s;
}

void client_leave(struct client_counts *cc, struct client_slot *s)
{
	_Atomic uint16_t *mine = &s->connections[cc->column];
	uint16_t before = atomic_load(mine);

	if (before > 0)
		atomic_store(mine, (uint16_t)(before - 1));
}

uint32_t client_count(struct client_slot *s, unsigned event, struct duration unit)
{
	uint64_t now = ms_of(clock_now()), window = atomic_load(&s->window), old, new;
	_Atomic uint64_t *word = &s->events[event];

	if (is_over(window, now, unit) && atomic_compare_exchange_strong(&s->window, &window, now))
		window = now;
	old = atomic_load(word);
	do {
		uint32_t count = old >> 32 == (uint32_t)window ? (uint32_t)old : 0;

		new = window << 32 | (count < UINT32_MAX ? count + 1 : count);
	} while (!atomic_compare_exchange_strong(word, &old, new));
	return (uint32_t) new;
}
