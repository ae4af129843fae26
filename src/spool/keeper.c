/* SPDX-License-Identifier: Apache-2.0 */
/* What goes on beside: marks made durable, segments and files cleared away, a spare kept ready, compaction. */
#include <errno.h>

#include "spool/spool_internal.h"

static const int64_t mark_delay_ms = 500, recovery_delay_ms = 500, idle_delay_s = 30, sweep_delay_s = 600;

static bool has_marks(struct spool *sp)
{
	LIST_EACH(&sp->segments, it)
		if (LIST_ENTRY(it, struct segment_file, link)->has_marks)
			return true;
	return false;
}

static void keep_spare(struct spool *sp)
{
	struct segment_file *seg;
	int err = spool_check_space(sp);

	if (!err)
		err = segment_make_spare(sp, &seg);
	/* Without one the next grant is refused, and says why. */
	if (err && err != -ENOSPC && err != -ECANCELED)
		spool_trouble(sp, "cannot make a segment in %s/segments: %s", sp->path, strerror(-err));
}

/* Every record of a lost index is live again, on the disk too: from now on the index is complete. */
static void finish_rebuilding(struct spool *sp)
{
	segments_sync_marks(sp);
	sp->is_rebuilding = false;
	op_add(sp, op_new(OP_SETTLE, ""));
}

static bool is_all_handed_out(struct spool *sp)
{
	struct spool_counts counts;

	spool_count(sp, &counts);
	return !counts.waiting && spool_is_recovered(sp);
}

static void keeper_round(struct spool *sp)
{
	segments_check_writers(sp);
	/* One that was empty when an earlier owner ended is nobody else's to notice. */
	LIST_EACH(&sp->segments, it)
		segment_check(sp, LIST_ENTRY(it, struct segment_file, link));
	if (!spool_is_recovered(sp))
		spool_rescan(sp);
	else if (sp->is_rebuilding)
		finish_rebuilding(sp);
	segments_clear(sp);
	keep_spare(sp);
	large_remove_lost(sp);
	if (!instant_is_before(clock_now(), sp->sweep_at) && is_all_handed_out(sp)) {
		sp->sweep_at = clock_deadline(duration_s(sweep_delay_s));
		large_sweep(sp);
	}
	if (!sp->is_closing)
		compact_some(sp);
}

void keeper_main(void *arg)
{
	struct spool *sp = arg;
	struct instant sync_at = INSTANT_NEVER;
	int err = 0;

	while (err != -ECANCELED && !sp->is_closing) {
		struct instant wake = clock_deadline(duration_s(idle_delay_s));

		sp->is_poked = false;
		keeper_round(sp);
		if (!has_marks(sp)) {
			sync_at = INSTANT_NEVER;
		} else if (sync_at.ns == INSTANT_NEVER.ns) {
			sync_at = clock_deadline(duration_ms(mark_delay_ms));
		} else if (!instant_is_before(clock_now(), sync_at)) {
			segments_sync_marks(sp);
			sync_at = INSTANT_NEVER;
			continue;
		}
		if (!spool_is_recovered(sp))
			wake = clock_deadline(duration_ms(recovery_delay_ms));
		if (instant_is_before(sync_at, wake))
			wake = sync_at;
		bool is_idle = instant_is_before(wake, sync_at) && spool_is_recovered(sp);

		err = sp->is_poked ? fiber_yield() : wait_list_wait(&sp->keep, wake);
		if (err == -ETIMEDOUT && is_idle)
			segments_trim(sp);
	}
}
