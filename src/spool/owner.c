/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing the spool, and what becomes of a message that is being worked on. */
#include "spool/owner.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/spool_internal.h"

void spool_trouble(struct spool *sp, const char *fmt, ...)
{
	struct buf text = BUF_INIT(4096);
	va_list args;

	va_start(args, fmt);
	buf_vaddf(&text, fmt, args);
	va_end(args);
	sp->events.trouble(sp->events.arg, buf_str(&text));
	buf_done(&text);
}

void spool_poke(struct spool *sp)
{
	sp->is_poked = true;
	wait_list_wake_all(&sp->keep);
}

void index_lock(struct spool *sp)
{
	while (sp->is_index_busy)
		wait_list_wait_always(&sp->index_free);
	sp->is_index_busy = true;
}

void index_unlock(struct spool *sp)
{
	sp->is_index_busy = false;
	(void)wait_list_wake_one(&sp->index_free);
}

/* --- open and close ---------------------------------------------------------------- */

static int open_folder(struct spool *sp, const char *name, struct buf *why, int *ret_fd)
{
	int at = name ? sp->folder_fd : AT_FDCWD;
	const char *path = name ? name : sp->path;

	if (mkdirat(at, path, 0700) && errno != EEXIST) {
		int err = -errno;

		buf_addf(why, "cannot make the folder %s%s%s: %s", sp->path, name ? "/" : "", name ? name : "", strerror(-err));
		return err;
	}
	*ret_fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*ret_fd >= 0)
		return 0;

	int err = -errno;

	buf_addf(why, "cannot open the folder %s%s%s: %s", sp->path, name ? "/" : "", name ? name : "", strerror(-err));
	return err;
}

/* One owner at a time. */
static int lock_folder(struct spool *sp, struct buf *why)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int err;

	sp->lock_fd = openat(sp->folder_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	err = sp->lock_fd < 0 || fcntl(sp->lock_fd, F_OFD_SETLK, &lock) ? -errno : 0;
	if (err == -EAGAIN || err == -EACCES)
		err = -EBUSY;
	if (err == -EBUSY)
		buf_addf(why, "another process owns the spool %s", sp->path);
	else if (err)
		buf_addf(why, "cannot lock %s/lock: %s", sp->path, strerror(-err));
	return err;
}

static int load_numbers(struct spool *sp, struct buf *why)
{
	struct index_txn *txn;
	uint32_t segment = 0;
	uint64_t large = 0;
	int err = index_begin(sp->ix, false, &txn);

	if (!err) {
		err = index_last_numbers(txn, &segment, &large);
		if (!err)
			err = index_count(txn, &sp->indexed, &sp->held);
		index_abort(txn);
	}
	if (!err)
		err = large_load(sp);
	if (err) {
		buf_addf(why, "cannot read the queue's index in %s: %s", sp->path, strerror(-err));
		return err;
	}
	sp->last_segment = segment > sp->last_segment ? segment : sp->last_segment;
	sp->last_large = large > sp->last_large ? large : sp->last_large;
	return 0;
}

/*
 * A new index gets its name when it is whole on disk: LMDB would not open one whose first pages a power
 * cut kept from it.
 */
static int make_index(struct spool *sp, struct buf *why)
{
	struct buf path = BUF_INIT(4096);
	struct index *ix = NULL;
	bool is_new;
	int fd = -1, err;

	if (!faccessat(sp->folder_fd, "index", F_OK, 0))
		return 0;
	(void)unlinkat(sp->folder_fd, "index.new/data.mdb", 0);
	(void)unlinkat(sp->folder_fd, "index.new/lock.mdb", 0);
	err = open_folder(sp, "index.new", why, &fd);
	buf_addf(&path, "%s/index.new", sp->path);
	if (!err)
		err = index_open(buf_cstr(&path), why, &ix, &is_new);
	index_close(ix);
	if (!err && (fsync(fd) || renameat(sp->folder_fd, "index.new", sp->folder_fd, "index") || fsync(sp->folder_fd))) {
		err = -errno;
		buf_addf(why, "cannot make %s/index: %s", sp->path, strerror(-err));
	}
	if (fd >= 0)
		close(fd);
	buf_done(&path);
	return err;
}

struct open_job {
	struct spool *sp;
	struct buf *why;
	int err;
};

static void open_run(void *arg)
{
	struct open_job *j = arg;
	struct spool *sp = j->sp;
	struct buf path = BUF_INIT(4096);

	j->err = open_folder(sp, NULL, j->why, &sp->folder_fd);
	if (!j->err)
		j->err = lock_folder(sp, j->why);
	if (!j->err)
		j->err = open_folder(sp, "segments", j->why, &sp->segments_fd);
	if (!j->err)
		j->err = open_folder(sp, "large", j->why, &sp->large_fd);
	if (!j->err)
		j->err = make_index(sp, j->why);
	buf_addf(&path, "%s/index", sp->path);
	if (!j->err)
		j->err = index_open(buf_cstr(&path), j->why, &sp->ix, &sp->is_rebuilding);
	if (!j->err)
		j->err = segments_load(sp, j->why);
	if (!j->err)
		j->err = load_numbers(sp, j->why);
	buf_done(&path);
}

static void spool_free(struct spool *sp)
{
	segments_close(sp);
	large_close_all(sp);
	index_close(sp->ix);
	map_done(&sp->taken);
	for (size_t i = 0; i < 4; i++) {
		int fd = (int[]){sp->segments_fd, sp->large_fd, sp->lock_fd, sp->folder_fd}[i];

		if (fd >= 0)
			close(fd);
	}
	free(sp->path);
	free(sp);
}

static struct spool *spool_new(const struct spool_options *o, const struct spool_events *events)
{
	struct spool *sp = mem_alloc(sizeof *sp);

	*sp = (struct spool){.events = *events,
	                     .path = mem_strdup(o->path),
	                     .reserve = o->reserve,
	                     .is_hungry = true,
	                     .segment_size = o->segment_size ? o->segment_size : SEGMENT_SIZE_DEFAULT,
	                     .folder_fd = -1,
	                     .segments_fd = -1,
	                     .large_fd = -1,
	                     .lock_fd = -1};
	list_init(&sp->segments);
	list_init(&sp->large);
	list_init(&sp->lost_large);
	list_init(&sp->ops);
	wait_list_init(&sp->work);
	wait_list_init(&sp->has_ops);
	wait_list_init(&sp->ops_done);
	wait_list_init(&sp->index_free);
	wait_list_init(&sp->keep);
	wait_list_init(&sp->made);
	return sp;
}

static struct fiber *start(const char *name, fiber_fn *fn, struct spool *sp)
{
	struct fiber *f = fiber_start(name, fn, sp);

	fiber_make_joinable(f);
	return f;
}

int spool_open(const struct spool_options *o, const struct spool_events *events, struct buf *why, struct spool **ret_spool)
{
	struct spool *sp = spool_new(o, events);
	struct open_job j = {.sp = sp, .why = why};
	int err = fiber_work(open_run, &j);

	if (j.err || err) {
		spool_free(sp);
		return j.err ? j.err : err;
	}
	sp->scanner = start("spool-scan", arrive_main, sp);
	sp->committer = start("spool-commit", commit_main, sp);
	sp->keeper = start("spool-keep", keeper_main, sp);
	*ret_spool = sp;
	return 0;
}

void spool_close(struct spool *sp)
{
	(void)ops_settle(sp);
	sp->is_closing = true;
	fiber_cancel(sp->scanner);
	fiber_join(sp->scanner);
	fiber_cancel(sp->keeper);
	fiber_join(sp->keeper);
	fiber_cancel(sp->committer);
	fiber_join(sp->committer);
	segments_sync_marks(sp);
	large_remove_lost(sp);
	spool_free(sp);
}

void spool_set_reserve(struct spool *sp, uint64_t bytes)
{
	sp->reserve = bytes;
}

/* --- a message being worked on ------------------------------------------------------- */

/* Then its mark and the record's are the same, and one write does for both. */
static bool has_one_recipient(const struct spool_message *m)
{
	return m->envelope.recipient_count == 1;
}

void spool_mark_done(struct spool *sp, struct spool_message *m, uint32_t recipient)
{
	if (m->recipients[recipient].is_done)
		return;
	m->recipients[recipient].is_done = true;
	m->pending_count--;
	if (has_one_recipient(m))
		segment_mark(sp, m->ref, RECORD_STATE_AT, RECORD_DONE);
	else
		segment_mark(sp, m->ref, RECORD_HEAD_SIZE + recipient, RECIPIENT_DONE);
}

void spool_finish(struct spool *sp, struct spool_message *m)
{
	struct segment_file *seg = segment_find(sp, m->ref.segment, m->ref.epoch);

	if (!has_one_recipient(m) || !m->recipients[0].is_done)
		segment_mark(sp, m->ref, RECORD_STATE_AT, RECORD_DONE);
	if (m->large)
		large_lose(sp, m->large);
	sp->active--;
	if (m->is_indexed) {
		struct op *o = op_new(OP_DELETE, m->envelope.queue_id);

		o->head.ref = m->ref;
		op_add(sp, o);
	} else if (seg) {
		seg->young--;
		seg->users--;
		segment_check(sp, seg);
	}
	message_free(m);
}

void spool_defer(struct spool *sp, struct spool_message *m)
{
	struct op *o = op_new(OP_PUT, m->envelope.queue_id);

	m->attempts++;
	m->deferred_at = clock_wall();
	m->flags &= ~(uint32_t)SPOOL_FLUSHED;
	o->head = (struct row_head){.ref = m->ref,
	                            .large = m->large,
	                            .content_at = m->content_at,
	                            .next_attempt = m->next_attempt,
	                            .deferred_at = m->deferred_at,
	                            .attempts = m->attempts,
	                            .flags = m->flags};
	o->is_young = !m->is_indexed;
	buf_init(&o->row, ROW_SIZE_MAX);
	row_encode(&o->row, &o->head, m);
	sp->active--;
	op_add(sp, o);
	message_free(m);
}

void spool_count(struct spool *sp, struct spool_counts *ret_counts)
{
	struct spool_counts c = {
		.active = sp->active, .indexed = sp->indexed, .held = sp->held, .committing = sp->ops_added - sp->ops_finished};

	LIST_EACH(&sp->segments, it) {
		struct segment_file *seg = LIST_ENTRY(it, struct segment_file, link);

		c.waiting += seg->end > seg->handed_at ? seg->end - seg->handed_at : 0;
		c.segments++;
		c.disk += seg->size;
	}
	*ret_counts = c;
}
