/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Group commit. Sessions put encoded records into a list and sleep; one fiber takes all that
 * wait, has them written and synced on a helper thread, and wakes their owners. While one group
 * is at the disk the next one gathers, so that a lone message waits for nothing and many share a sync.
 */
#include "spool/append_internal.h"

#include <errno.h>
#include <unistd.h>

#include "base/encoding.h"
#include "spool/disk.h"

enum {
	GROUP_MAX = 1000,
	GROUP_SIZE_MAX = 32 << 20,
	PIECES_A_RECORD = 3,
	GRANT_WAIT_S = 10,
	ASK_AGAIN_S = 1,
	ENVELOPE_USUAL = 500, /* room for most envelopes at once */
};

static const char zeros[RECORD_HEAD_SIZE];

/* --- segments ---------------------------------------------------------------------- */

static void appender_ask(struct appender *ap)
{
	if (ap->is_asked || instant_is_before(clock_now(), ap->ask_at))
		return;
	ap->is_asked = true;
	ap->owner.want_segment(ap->owner.arg);
}

static void seal(struct appender *ap, struct open_segment *seg, uint64_t end)
{
	if (seg->fd < 0)
		return;
	ap->owner.queued(ap->owner.arg, seg->number, seg->epoch, end, true);
	close(seg->fd);
	seg->fd = -1;
}

static void seal_all(struct appender *ap)
{
	seal(ap, &ap->current, ap->at);
	seal(ap, &ap->next, SEGMENT_HEAD_SIZE);
}

void appender_grant(struct appender *ap, int fd, uint32_t segment, uint32_t epoch, uint64_t size)
{
	struct open_segment seg = {.fd = fd, .number = segment, .epoch = epoch, .size = size};

	ap->is_asked = false;
	ap->refused = 0;
	ap->ask_at = (struct instant){0};
	if (ap->next.fd >= 0)
		seal(ap, &seg, SEGMENT_HEAD_SIZE);
	else
		ap->next = seg;
	wait_list_wake_all(&ap->answer);
}

void appender_refuse(struct appender *ap, int error)
{
	ap->is_asked = false;
	ap->refused = error > 0 ? error : EIO;
	ap->ask_at = clock_deadline(duration_s(ASK_AGAIN_S));
	wait_list_wake_all(&ap->answer);
}

/* Has a segment with room for `size` bytes in ap->current. */
static int find_room(struct appender *ap, uint64_t size)
{
	struct instant deadline = clock_deadline(duration_s(GRANT_WAIT_S));
	int err = 0;

	if (ap->current.fd >= 0 && size > ap->current.size - ap->at)
		seal(ap, &ap->current, ap->at);
	while (!err && ap->current.fd < 0 && ap->next.fd < 0 && !ap->wants_reset) {
		appender_ask(ap);
		if (!ap->is_asked)
			return -ap->refused;
		err = wait_list_wait(&ap->answer, deadline);
	}
	if (err || ap->wants_reset)
		return err;
	if (ap->current.fd < 0) {
		ap->current = ap->next;
		ap->next.fd = -1;
		ap->at = SEGMENT_HEAD_SIZE;
	}
	if (size > ap->current.size - ap->at)
		return -EFBIG;
	if (ap->next.fd < 0 && ap->at > ap->current.size / 2)
		appender_ask(ap);
	return 0;
}

/* --- groups ------------------------------------------------------------------------- */

struct group {
	struct list records;
	struct open_segment segment;
	uint64_t at;
	uint64_t end;
	struct iovec *pieces;
	size_t piece_count;
	int err;
};

/*
 * What may stand there whole must not be found: its sender was told otherwise. Each head by itself, for a reader goes on behind
 * a record that it cannot read.
 */
static void group_void(struct group *g)
{
	uint64_t at = g->at;

	LIST_EACH(&g->records, it) {
		(void)!disk_write(g->segment.fd, zeros, sizeof zeros, at);
		at += LIST_ENTRY(it, struct append_record, link)->size;
	}
	(void)!disk_sync(g->segment.fd);
}

static void group_run(void *arg)
{
	struct group *g = arg;

	g->err = disk_write_pieces(g->segment.fd, g->pieces, g->piece_count, g->at);
	if (!g->err)
		g->err = disk_sync(g->segment.fd);
	if (g->err)
		group_void(g);
}

static void add_piece(struct group *g, const void *ptr, size_t len)
{
	if (len)
		g->pieces[g->piece_count++] = (struct iovec){.iov_base = (char *)(uintptr_t)ptr, .iov_len = len};
}

static void group_add(struct group *g, struct append_record *r)
{
	list_remove(&r->link);
	list_add(&g->records, &r->link);
	/* The epoch is known only now. */
	r->head.epoch = g->segment.epoch;
	record_head_encode(r->front.ptr, &r->head, str_from(buf_str(&r->front), (size_t)record_envelope_at(&r->head)));
	add_piece(g, r->front.ptr, r->front.len);
	add_piece(g, r->content.ptr, r->content.len);
	add_piece(g, zeros, (size_t)(r->size - r->front.len - r->content.len));
	g->end += r->size;
}

static void group_take(struct appender *ap, struct group *g)
{
	size_t count = 0;

	*g = (struct group){.segment = ap->current, .at = ap->at, .end = ap->at, .pieces = ap->pieces};
	list_init(&g->records);
	LIST_EACH(&ap->waiting, it) {
		struct append_record *r = LIST_ENTRY(it, struct append_record, link);
		bool fits = r->size <= g->segment.size - g->end;

		if (!fits || ++count > GROUP_MAX || (count > 1 && g->end - g->at + r->size > GROUP_SIZE_MAX))
			break;
		group_add(g, r);
	}
}

static void wake(struct list *records, int result)
{
	LIST_EACH(records, it) {
		struct append_record *r = LIST_ENTRY(it, struct append_record, link);

		list_remove(&r->link);
		r->result = result;
		r->is_over = true;
		wait_list_wake_all(&r->over);
	}
}

static void group_finish(struct appender *ap, struct group *g)
{
	if (!g->err) {
		ap->at = g->end;
		ap->owner.queued(ap->owner.arg, ap->current.number, ap->current.epoch, ap->at, false);
	} else {
		seal(ap, &ap->current, ap->at);
	}
	wake(&g->records, g->err);
}

static void commit_waiting(struct appender *ap)
{
	struct append_record *first = LIST_ENTRY(list_first(&ap->waiting), struct append_record, link);
	struct group g;
	int err = find_room(ap, first->size);

	if (ap->wants_reset)
		return;
	if (err == -EFBIG) {
		struct list one;

		list_init(&one);
		list_remove(&first->link);
		list_add(&one, &first->link);
		wake(&one, err);
		return;
	}
	if (err) {
		wake(&ap->waiting, err);
		return;
	}
	group_take(ap, &g);
	(void)fiber_work(group_run, &g);
	group_finish(ap, &g);
}

static void commit_main(void *arg)
{
	struct appender *ap = arg;
	int err = 0;

	while (!err && !ap->is_stopped) {
		if (ap->wants_reset) {
			seal_all(ap);
			ap->wants_reset = ap->is_asked = false;
			ap->ask_at = (struct instant){0};
			appender_ask(ap);
			wait_list_wake_all(&ap->reset_done);
		} else if (!list_is_empty(&ap->waiting)) {
			commit_waiting(ap);
			err = fiber_is_cancelled() ? -ECANCELED : 0;
		} else {
			err = wait_list_wait(&ap->has_work, INSTANT_NEVER);
		}
	}
	ap->is_stopped = true;
	wake(&ap->waiting, -ECANCELED);
	wait_list_wake_all(&ap->reset_done);
}

/* --- for the sessions -------------------------------------------------------------------- */

struct appender *appender_new(const struct append_owner *owner)
{
	struct appender *ap = mem_alloc(sizeof *ap);

	*ap = (struct appender){.owner = *owner, .current = {.fd = -1}, .next = {.fd = -1}, .memory_max = 64 << 20};
	list_init(&ap->waiting);
	list_init(&ap->larges);
	wait_list_init(&ap->has_work);
	wait_list_init(&ap->answer);
	wait_list_init(&ap->reset_done);
	list_init(&ap->shares);
	list_init(&ap->memory_waiters);
	wait_list_init(&ap->memory_short);
	ap->pieces = mem_alloc((size_t)GROUP_MAX * PIECES_A_RECORD * sizeof *ap->pieces);
	ap->committer = fiber_start("append-commit", commit_main, ap);
	fiber_make_joinable(ap->committer);
	ap->mover = fiber_start("append-memory", append_memory_main, ap);
	fiber_make_joinable(ap->mover);
	return ap;
}

void appender_free(struct appender *ap)
{
	if (!ap)
		return;
	fiber_cancel(ap->mover);
	fiber_join(ap->mover);
	fiber_cancel(ap->committer);
	fiber_join(ap->committer);
	seal_all(ap);
	free(ap->pieces);
	free(ap);
}

void appender_reset(struct appender *ap)
{
	append_large_ask_again(ap);
	ap->wants_reset = true;
	wait_list_wake_all(&ap->has_work);
	wait_list_wake_all(&ap->answer);
	while (ap->wants_reset && !ap->is_stopped)
		wait_list_wait_always(&ap->reset_done);
}

int append_record_commit(struct appender *ap, struct append_record *r)
{
	if (ap->is_stopped)
		return -ECANCELED;
	wait_list_init(&r->over);
	list_add(&ap->waiting, &r->link);
	wait_list_wake_all(&ap->has_work);
	/* Even when cancelled: the record and its content are in use until the group is over. */
	while (!r->is_over)
		wait_list_wait_always(&r->over);
	return r->result;
}

int append_record_init(struct append_record *r, const struct envelope *e, uint64_t content_size)
{
	struct envelope stored = *e;
	char *states;

	if (!e->recipient_count || e->recipient_count > RECORD_RECIPIENTS_MAX)
		return -EINVAL;
	stored.content_size = content_size;
	r->head.recipient_count = e->recipient_count;
	r->head.content_size = content_size;
	buf_init(&r->front, RECORD_ENVELOPE_MAX);
	states = buf_room(&r->front, (size_t)record_envelope_at(&r->head) + ENVELOPE_USUAL);
	if (states) {
		memset(states, 0, (size_t)record_envelope_at(&r->head));
		buf_added(&r->front, (size_t)record_envelope_at(&r->head));
	}
	envelope_encode(&r->front, &stored);
	r->head.envelope_size = (uint32_t)(r->front.len - record_envelope_at(&r->head));
	return buf_check(&r->front);
}

int appender_append(struct appender *ap, const struct envelope *e, struct str content)
{
	struct append_record r = {.content = content};
	int err = content.len > RECORD_CONTENT_MAX ? -EFBIG : append_record_init(&r, e, content.len);

	if (!err) {
		r.head.content_crc = crc32c(0, content.ptr, content.len);
		r.size = record_size(&r.head);
		err = append_record_commit(ap, &r);
	}
	buf_done(&r.front);
	return err;
}
