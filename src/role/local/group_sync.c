/* SPDX-License-Identifier: Apache-2.0 */
/* Group commit of files: one thread syncs for all that came before it began. */
#include "role/local/group_sync.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

enum {
	FEW = 4,          /* deliveries at once that sync their own files */
	SLOW_MS = 200,    /* a syncfs() that takes longer has other people's data to write */
	SLOW_REST_S = 20, /* so long each file is synced alone afterwards */
	FILE_SYSTEMS = 8, /* known at once; files on others are synced alone */
};

/* One file system. Tickets count who asked for a sync; `done` is the last that was served. */
struct group {
	dev_t dev;
	bool is_used;
	bool is_busy;
	uint64_t asked;
	uint64_t done;
	int error; /* of the round that ended last */
	struct instant alone_until;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t round_ended;
	unsigned running;
	struct group groups[FILE_SYSTEMS];
} state = {.lock = PTHREAD_MUTEX_INITIALIZER, .round_ended = PTHREAD_COND_INITIALIZER};

void group_sync_enter(void)
{
	pthread_mutex_lock(&state.lock);
	state.running++;
	pthread_mutex_unlock(&state.lock);
}

void group_sync_leave(void)
{
	pthread_mutex_lock(&state.lock);
	state.running--;
	pthread_mutex_unlock(&state.lock);
}

/* Under the lock. NULL when there are too many. */
static struct group *find_group(dev_t dev)
{
	for (size_t i = 0; i < FILE_SYSTEMS; i++) {
		struct group *g = &state.groups[i];

		if (g->is_used && g->dev == dev)
			return g;
		if (!g->is_used) {
			g->is_used = true;
			g->dev = dev;
			return g;
		}
	}
	return NULL;
}

/* Under the lock, which is given up while the disk works. */
static void lead_round(struct group *g, int fd)
{
	uint64_t until = g->asked;
	struct instant begin;
	int err;

	g->is_busy = true;
	pthread_mutex_unlock(&state.lock);
	begin = clock_now();
	err = syncfs(fd) != 0 ? -errno : 0;
	pthread_mutex_lock(&state.lock);
	g->is_busy = false;
	g->done = until;
	g->error = err;
	if (duration_between(begin, clock_now()).ns > duration_ms(SLOW_MS).ns)
		g->alone_until = clock_deadline(duration_s(SLOW_REST_S));
	pthread_cond_broadcast(&state.round_ended);
}

/* Waits for a round that began after the call. The error of a later round is as good a reason to fail. */
static int join_round(struct group *g, int fd)
{
	uint64_t ticket = ++g->asked;

	while (g->done < ticket) {
		if (g->is_busy)
			pthread_cond_wait(&state.round_ended, &state.lock);
		else
			lead_round(g, fd);
	}
	return g->error;
}

int group_sync(int fd)
{
	struct group *g = NULL;
	struct stat st;
	int err = 0;

	if (fstat(fd, &st) != 0)
		return -errno;
	pthread_mutex_lock(&state.lock);
	if (state.running > FEW)
		g = find_group(st.st_dev);
	if (g && instant_is_before(clock_now(), g->alone_until))
		g = NULL;
	if (g)
		err = join_round(g, fd);
	pthread_mutex_unlock(&state.lock);
	if (!g)
		err = fsync(fd) != 0 ? -errno : 0;
	return err;
}
