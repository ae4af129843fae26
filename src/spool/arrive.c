/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How messages come to the owner: one fiber reads what receivers announced, and what an earlier
 * owner or a receiver that is gone left without announcing it. The first is in the kernel's memory
 * as a rule and is read at once; everything else is read, with its content, on a helper thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "spool/disk.h"
#include "spool/spool_internal.h"

enum { BATCH_MAX = 64 };

/* Some records of one segment. */
struct batch {
	struct spool *sp;
	struct scan *scan;
	struct segment_file *seg;
	bool is_recovered; /* everything is in doubt: where records end, and whether the index has them */
	bool may_skip;     /* no writer is left who could still fill a hole */
	struct spool_message *messages[BATCH_MAX];
	size_t count;
	bool has_marked;       /* state bytes were written */
	uint64_t skipped_from; /* damage: from here ... */
	uint64_t skipped_to;   /* ... to here no record could be read; 0 for none */
	int result;            /* 0: there is more; -ENOENT: the end; -EBADMSG: a hole; others: the disk */
};

/* The index has it already: only the mark is missing. */
static bool is_in_index(struct batch *b, struct index_txn *txn, const struct spool_message *m)
{
	struct row_head head;
	struct str row;

	if (index_get(txn, str_of(m->envelope.queue_id), &row) || row_head_decode(row, &head))
		return false;
	return head.ref.segment == m->ref.segment && head.ref.epoch == m->ref.epoch && head.ref.at == m->ref.at;
}

/*
 * A large file is removed when its message is done, and that mark may have been lost with the power:
 * no file, no message.
 */
static bool has_content(struct batch *b, const struct record_head *head)
{
	char name[24];
	struct stat st;

	if (!head->large || !b->is_recovered)
		return true;
	snprintf(name, sizeof name, "%016llx", (unsigned long long)head->large);
	return !fstatat(b->sp->large_fd, name, &st, AT_SYMLINK_NOFOLLOW) && (uint64_t)st.st_size >= head->content_size;
}

static void batch_mark(struct batch *b, uint64_t at, char state)
{
	if (!disk_write(b->seg->fd, &state, 1, at + RECORD_STATE_AT))
		b->has_marked = true;
}

static void batch_add(struct batch *b, struct index_txn *txn, const struct scan_record *r)
{
	struct record_ref ref = {.segment = b->seg->number, .epoch = b->seg->epoch, .at = r->at};
	struct spool_message *m;
	bool is_live = r->head.state == RECORD_LIVE || (r->head.state == RECORD_INDEXED && b->sp->is_rebuilding);

	if (!is_live || !has_content(b, &r->head))
		return;
	if (message_from_record(&ref, &r->head, r->states, r->envelope, &m)) {
		/* Whole, but not what a receiver of ours writes. It stays where it is. */
		b->skipped_from = r->at;
		b->skipped_to = r->at + r->size;
		return;
	}
	if (txn && is_in_index(b, txn, m)) {
		batch_mark(b, r->at, RECORD_INDEXED);
		message_free(m);
		return;
	}
	if (r->head.state == RECORD_INDEXED)
		batch_mark(b, r->at, RECORD_LIVE);
	b->messages[b->count++] = m;
}

static int batch_skip(struct batch *b)
{
	uint64_t from = b->scan->at;
	int err = scan_skip(b->scan);

	/* Nothing behind it in a segment whose end is unknown: then it is the end. */
	if (err == -ENOENT && b->is_recovered) {
		b->scan->at = from;
		return -ENOENT;
	}
	if (!err || err == -ENOENT) {
		b->skipped_from = from;
		b->skipped_to = b->scan->at;
	}
	return err;
}

static void batch_run(void *arg)
{
	struct batch *b = arg;
	struct index_txn *txn = NULL;
	struct scan_record r;

	b->result = b->is_recovered ? index_begin(b->sp->ix, false, &txn) : 0;
	for (size_t i = 0; !b->result && i < BATCH_MAX && !b->skipped_to; i++) {
		b->result = scan_next(b->scan, &r);
		if (!b->result)
			batch_add(b, txn, &r);
		else if (b->result == -EBADMSG && b->may_skip)
			b->result = batch_skip(b);
	}
	index_abort(txn);
}

static void report_damage(struct spool *sp, struct segment_file *seg, const struct batch *b)
{
	if (!b->skipped_to)
		return;
	seg->has_damage |= !b->is_recovered;
	spool_trouble(sp, "%s/segments/%08x: no readable message between bytes %llu and %llu%s", sp->path, seg->number,
	              (unsigned long long)b->skipped_from, (unsigned long long)b->skipped_to,
	              b->is_recovered ? ", a write cut short or damage" : "; the file is kept");
}

static void hand_out(struct spool *sp, struct segment_file *seg, struct batch *b)
{
	for (size_t i = 0; i < b->count; i++) {
		struct spool_message *m = b->messages[i];

		seg->young++;
		seg->users++;
		sp->active++;
		if (m->large)
			large_add(sp, m->large)->has_message = true;
		sp->events.incoming(sp->events.arg, m);
	}
}

/* Where the scan may go: an announced end is certain; in a recovered segment only the records tell. */
static uint64_t scan_limit(const struct segment_file *seg)
{
	return seg->is_recovered ? seg->size : seg->end;
}

static bool has_more(const struct segment_file *seg)
{
	if (seg->state != SEGMENT_WRITING && seg->state != SEGMENT_SEALED)
		return false;
	return !seg->is_own && (seg->is_recovered || seg->handed_at < seg->end);
}

/* The end of what can be found now in a recovered segment. */
static void recovered_end(struct spool *sp, struct segment_file *seg, bool had_writer)
{
	if (seg->handed_at > seg->end)
		seg->end = seg->handed_at;
	if (had_writer)
		return; /* it will announce more, or go */
	seg->is_recovered = false;
	segment_set_state(seg, SEGMENT_SEALED);
}

/* One batch of one segment; true when there may be more of it at once. */
static bool scan_some(struct spool *sp, struct segment_file *seg)
{
	struct scan scan;
	struct batch *b = mem_alloc(sizeof *b);
	bool had_writer = seg->is_recovered && segment_has_writer(seg);
	uint64_t from = seg->handed_at;

	/* Its writer may seal it while a helper thread reads: it is not to be used anew, or gone, under our hands. */
	seg->users++;
	scan_init(&scan, seg->fd, seg->epoch, from, scan_limit(seg));
	*b = (struct batch){.sp = sp, .scan = &scan, .seg = seg, .is_recovered = seg->is_recovered, .may_skip = !had_writer};
	scan.checks_content = seg->is_recovered;
	scan.may_block = false;
	b->result = -EAGAIN;
	if (!seg->is_recovered)
		batch_run(b);
	if (b->result == -EAGAIN && !b->count) {
		scan.may_block = true;
		(void)fiber_work(batch_run, b);
	}
	seg->handed_at = scan.at;
	seg->has_marks |= b->has_marked;
	report_damage(sp, seg, b);
	hand_out(sp, seg, b);
	if (b->result == -ENOENT || b->result == -EBADMSG) {
		if (b->is_recovered && seg->is_recovered)
			recovered_end(sp, seg, had_writer);
	} else if (b->result && b->result != -EAGAIN) {
		spool_trouble(sp, "cannot read %s/segments/%08x: %s", sp->path, seg->number, strerror(-b->result));
	}

	bool goes_on = !b->result || b->result == -EAGAIN;

	scan_done(&scan);
	free(b);
	seg->users--;
	segment_check(sp, seg);
	return goes_on && seg->handed_at > from;
}

bool spool_is_recovered(const struct spool *sp)
{
	LIST_EACH((struct list *)(uintptr_t)&sp->segments, it)
		if (LIST_ENTRY(it, struct segment_file, link)->is_recovered)
			return false;
	return true;
}

void spool_rescan(struct spool *sp)
{
	sp->has_work = true;
	wait_list_wake_all(&sp->work);
}

void spool_set_hungry(struct spool *sp, bool is_on)
{
	if (is_on && !sp->is_hungry)
		spool_rescan(sp);
	sp->is_hungry = is_on;
}

/* The next segment in the order of numbers, around the end; they may come and go while one is scanned. */
static struct segment_file *next_to_scan(struct spool *sp, uint32_t after)
{
	struct segment_file *next = NULL;

	LIST_EACH(&sp->segments, it) {
		struct segment_file *seg = LIST_ENTRY(it, struct segment_file, link);

		if (seg->number > after && has_more(seg) && (!next || seg->number < next->number))
			next = seg;
	}
	return next;
}

/* Every segment in turn, so that a great backlog in one does not hold up the others. */
static bool scan_round(struct spool *sp)
{
	struct segment_file *seg;
	bool goes_on = false;

	for (uint32_t after = 0; sp->is_hungry && !sp->is_closing && (seg = next_to_scan(sp, after));) {
		after = seg->number;
		if (scan_some(sp, seg))
			goes_on = true;
	}
	return goes_on;
}

void arrive_main(void *arg)
{
	struct spool *sp = arg;
	int err = 0;

	while (!err && !sp->is_closing) {
		sp->has_work = false;

		bool goes_on = scan_round(sp);

		err = goes_on || sp->has_work ? fiber_yield() : wait_list_wait(&sp->work, INSTANT_NEVER);
	}
}
