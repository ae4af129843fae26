/* SPDX-License-Identifier: Apache-2.0 */
/* The owner's segments: made, granted, marked, looked after, used again or removed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/random.h"
#include "spool/disk.h"
#include "spool/spool_internal.h"

enum { NAME_SIZE = 16, SPARES_MAX = 3 };

static const char *const state_names[] = {"spare", "writing", "sealed", "settled", "clearing", "gone"};

/* Which states may follow; one bit each. */
static const unsigned next_states[] = {
	[SEGMENT_SPARE] = 1U << SEGMENT_WRITING | 1U << SEGMENT_GONE,      [SEGMENT_WRITING] = 1U << SEGMENT_SEALED,
	[SEGMENT_SEALED] = 1U << SEGMENT_SETTLED | 1U << SEGMENT_CLEARING, [SEGMENT_SETTLED] = 1U << SEGMENT_CLEARING,
	[SEGMENT_CLEARING] = 1U << SEGMENT_SPARE | 1U << SEGMENT_GONE,     [SEGMENT_GONE] = 0,
};

void segment_set_state(struct segment_file *seg, enum segment_state to)
{
	if (!(next_states[seg->state] & 1U << to))
		die("segment %08x goes from %s to %s", seg->number, state_names[seg->state], state_names[to]);
	seg->state = to;
}

static struct str number_key(const uint32_t *number)
{
	return str_n((const char *)number, sizeof *number);
}

struct segment_file *segment_find(struct spool *sp, uint32_t number, uint32_t epoch)
{
	struct segment_file *seg = map_find(&sp->by_number, number_key(&number));

	return seg && seg->epoch == epoch ? seg : NULL;
}

static void segment_name(char *to, uint32_t number)
{
	snprintf(to, NAME_SIZE, "%08x", number);
}

static struct segment_file *segment_new(uint32_t number, int fd, enum segment_state state)
{
	struct segment_file *seg = mem_alloc(sizeof *seg);

	*seg = (struct segment_file){.number = number,
	                             .fd = fd,
	                             .read_fd = -1,
	                             .state = state,
	                             .end = SEGMENT_HEAD_SIZE,
	                             .handed_at = SEGMENT_HEAD_SIZE};
	list_init(&seg->link);
	return seg;
}

static void segment_add(struct spool *sp, struct segment_file *seg)
{
	list_add(&sp->segments, &seg->link);
	map_set(&sp->by_number, number_key(&seg->number), seg);
}

static void segment_free(struct spool *sp, struct segment_file *seg)
{
	list_remove(&seg->link);
	map_remove(&sp->by_number, number_key(&seg->number));
	if (seg->fd >= 0)
		close(seg->fd);
	if (seg->read_fd >= 0)
		close(seg->read_fd);
	free(seg);
}

void segments_close(struct spool *sp)
{
	LIST_EACH(&sp->segments, it)
		segment_free(sp, LIST_ENTRY(it, struct segment_file, link));
	map_done(&sp->by_number);
}

/* --- at the start ---------------------------------------------------------------- */

static bool is_all_zero(const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i])
			return false;
	return true;
}

/* A file whose head cannot be read: one that was never granted goes, anything else is kept for a person to look at. */
static void load_headless(struct spool *sp, const char *name, struct str head, uint64_t rows)
{
	char aside[NAME_SIZE + 8];

	if (is_all_zero(head.ptr, head.len) && !rows) {
		if (unlinkat(sp->segments_fd, name, 0))
			spool_trouble(sp, "cannot remove %s/segments/%s: %s", sp->path, name, strerror(errno));
		return;
	}
	snprintf(aside, sizeof aside, "%.8s.damaged", name);
	if (renameat(sp->segments_fd, name, sp->segments_fd, aside))
		spool_trouble(sp, "cannot rename %s/segments/%s: %s", sp->path, name, strerror(errno));
	spool_trouble(sp, "%s/segments/%s has a damaged head; kept as %s, %llu deferred messages are in it", sp->path, name,
	              aside, (unsigned long long)rows);
}

static void ask_index(struct spool *sp, uint32_t number, struct index_segment *ret_known)
{
	struct index_txn *txn;

	*ret_known = (struct index_segment){0};
	if (index_begin(sp->ix, false, &txn))
		return;
	if (index_get_segment(txn, number, ret_known))
		*ret_known = (struct index_segment){0};
	index_abort(txn);
}

static int load_one(struct spool *sp, const char *name, uint32_t number)
{
	char bytes[64];
	struct segment_head head;
	struct index_segment known;
	struct stat st;
	size_t got;
	int fd = openat(sp->segments_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	int err = fd < 0 || fstat(fd, &st) ? -errno : disk_read(fd, bytes, sizeof bytes, 0, &got);

	if (err) {
		if (fd >= 0)
			close(fd);
		return err;
	}
	ask_index(sp, number, &known);
	if (segment_head_decode(str_n(bytes, got), &head) || head.segment != number) {
		close(fd);
		load_headless(sp, name, str_n(bytes, got), known.count);
		return 0;
	}

	struct segment_file *seg = segment_new(number, fd, SEGMENT_WRITING);

	seg->epoch = head.epoch;
	seg->size = (uint64_t)st.st_size;
	if (known.epoch == head.epoch) {
		seg->rows = known.count;
		seg->row_bytes = known.bytes;
	}
	seg->is_recovered = true;
	if (known.epoch == head.epoch && known.is_settled) {
		seg->state = SEGMENT_SETTLED;
		seg->is_recovered = false;
	}
	segment_add(sp, seg);
	return 0;
}

int segments_load(struct spool *sp, struct buf *why)
{
	int fd = openat(sp->folder_fd, "segments", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		err = -errno;
		buf_addf(why, "cannot read %s/segments: %s", sp->path, strerror(-err));
		return err;
	}
	while (!err && (entry = readdir(dir))) {
		char *end;
		unsigned long number = strtoul(entry->d_name, &end, 16);

		if (strlen(entry->d_name) < 8 || end != entry->d_name + 8 || !number)
			continue;
		sp->last_segment = number > sp->last_segment ? (uint32_t)number : sp->last_segment;
		if (!*end)
			err = load_one(sp, entry->d_name, (uint32_t)number);
		if (err)
			buf_addf(why, "cannot open %s/segments/%s: %s", sp->path, entry->d_name, strerror(-err));
	}
	closedir(dir);
	return err;
}

/* --- making and granting ---------------------------------------------------------- */

struct make_job {
	struct spool *sp;
	uint32_t number;
	uint32_t epoch;
	uint64_t size;
	int fd; /* of the file to be used again, or -1 for a new one */
	bool has_marks;
	int err;
};

/* Marks must not be lost behind a head that is: a message would come back to life. */
static int make_head(struct make_job *j)
{
	char head[SEGMENT_HEAD_SIZE];
	int err = j->has_marks ? disk_sync(j->fd) : 0;

	segment_head_encode(head, &(struct segment_head){.segment = j->number, .epoch = j->epoch, .size = j->size});
	if (!err)
		err = disk_write(j->fd, head, sizeof head, 0);
	return err ? err : disk_sync(j->fd);
}

/*
 * Blocks that were written once are overwritten with a cheap sync; merely allocated ones make each
 * first sync change the file's metadata as well (0.1 beside 0.7 ms on the disk where it was measured).
 */
static int fill_with_zeros(int fd, uint64_t size)
{
	static const char zeros[64 * 1024];
	int err = 0;

	for (uint64_t at = 0; !err && at < size; at += sizeof zeros)
		err = disk_write(fd, zeros, (size_t)(size - at < sizeof zeros ? size - at : sizeof zeros), at);
	return err;
}

static void make_run(void *arg)
{
	struct make_job *j = arg;
	char name[NAME_SIZE];

	if (j->fd >= 0) {
		j->err = make_head(j);
		return;
	}
	segment_name(name, j->number);
	j->fd = openat(j->sp->segments_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (j->fd < 0) {
		j->err = -errno;
		return;
	}
	j->err = fallocate(j->fd, 0, 0, (off_t)j->size) ? -errno : 0;
	if (j->err == -EOPNOTSUPP)
		j->err = ftruncate(j->fd, (off_t)j->size) ? -errno : 0;
	if (!j->err)
		j->err = fill_with_zeros(j->fd, j->size);
	if (!j->err)
		j->err = make_head(j);
	if (!j->err)
		j->err = disk_sync_folder(j->sp->segments_fd);
	if (j->err) {
		close(j->fd);
		unlinkat(j->sp->segments_fd, name, 0);
	}
}

static uint32_t fresh_epoch(uint32_t before)
{
	uint32_t epoch;

	do
		random_bytes(&epoch, sizeof epoch);
	while (!epoch || epoch == before);
	return epoch;
}

static struct segment_file *find_state(struct spool *sp, enum segment_state state)
{
	LIST_EACH(&sp->segments, it) {
		struct segment_file *seg = LIST_ENTRY(it, struct segment_file, link);

		if (seg->state == state)
			return seg;
	}
	return NULL;
}

static uint64_t count_state(struct spool *sp, enum segment_state state)
{
	uint64_t count = 0;

	LIST_EACH(&sp->segments, it)
		count += LIST_ENTRY(it, struct segment_file, link)->state == state;
	return count;
}

static int make_new(struct spool *sp)
{
	struct make_job j = {.sp = sp, .number = ++sp->last_segment, .epoch = fresh_epoch(0), .size = sp->segment_size, .fd = -1};

	(void)fiber_work(make_run, &j);
	if (j.err)
		return j.err;

	struct segment_file *seg = segment_new(j.number, j.fd, SEGMENT_SPARE);

	seg->epoch = j.epoch;
	seg->size = j.size;
	segment_add(sp, seg);
	return 0;
}

int segment_make_spare(struct spool *sp, struct segment_file **ret_segment)
{
	struct segment_file *seg;
	int err = 0;

	while (!err && !(seg = find_state(sp, SEGMENT_SPARE))) {
		if (sp->is_making) {
			err = wait_list_wait(&sp->made, INSTANT_NEVER);
			continue;
		}
		sp->is_making = true;
		err = make_new(sp);
		sp->is_making = false;
		wait_list_wake_all(&sp->made);
	}
	if (!err)
		*ret_segment = seg;
	return err;
}

int spool_check_space(struct spool *sp)
{
	struct statvfs st;
	uint64_t least = sp->reserve > sp->segment_size ? sp->reserve : sp->segment_size;

	if (fstatvfs(sp->folder_fd, &st))
		return -errno;
	return (uint64_t)st.f_bavail * st.f_frsize < least ? -ENOSPC : 0;
}

/* A description of its own, whose lock lives as long as anybody holds it: segment_has_writer() sees it. */
static int open_for_writer(struct spool *sp, const struct segment_file *seg, int *ret_fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char name[NAME_SIZE];

	segment_name(name, seg->number);

	int fd = openat(sp->segments_fd, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return -errno;
	if (fcntl(fd, F_OFD_SETLK, &lock)) {
		int err = -errno;

		close(fd);
		return err;
	}
	*ret_fd = fd;
	return 0;
}

int spool_grant(struct spool *sp, struct spool_grant *ret_grant)
{
	struct segment_file *seg = NULL;
	int fd = -1, err = spool_check_space(sp);

	if (!err)
		err = segment_make_spare(sp, &seg);
	if (!err)
		err = open_for_writer(sp, seg, &fd);
	if (err)
		return err;
	segment_set_state(seg, SEGMENT_WRITING);
	spool_poke(sp); /* the next spare */
	*ret_grant = (struct spool_grant){.fd = fd, .segment = seg->number, .epoch = seg->epoch, .size = seg->size};
	return 0;
}

int spool_segment_fd(struct spool *sp, const struct spool_message *m, int *ret_fd)
{
	struct segment_file *seg = segment_find(sp, m->ref.segment, m->ref.epoch);
	char name[NAME_SIZE];

	if (!seg)
		return -ENOENT;
	if (seg->read_fd < 0) {
		segment_name(name, seg->number);
		seg->read_fd = openat(sp->segments_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	}
	if (seg->read_fd < 0)
		return -errno;
	*ret_fd = seg->read_fd;
	return 0;
}

/* --- what writers say, and when they are gone ---------------------------------------- */

static void seal(struct spool *sp, struct segment_file *seg)
{
	seg->is_recovered = false;
	segment_set_state(seg, SEGMENT_SEALED);
	segment_check(sp, seg);
}

int spool_queued(struct spool *sp, uint32_t segment, uint32_t epoch, uint64_t end, bool is_sealed)
{
	struct segment_file *seg = segment_find(sp, segment, epoch);

	/* Its writer went, all was found, and the file may be in use again: then this is old news. */
	if (!seg && segment <= sp->last_segment)
		return 0;
	if (!seg || end > seg->size || end % 8 || end < SEGMENT_HEAD_SIZE)
		return -EINVAL;
	if (seg->state != SEGMENT_WRITING || seg->is_own)
		return end <= seg->end ? 0 : -EINVAL;
	if (end < seg->end && !seg->is_recovered)
		return -EINVAL;
	if (end > seg->end)
		seg->end = end;
	if (is_sealed) {
		/* A recovery may have read on into a group that its writer then gave up. */
		if (seg->handed_at > seg->end)
			seg->end = seg->handed_at;
		seal(sp, seg);
	}
	spool_rescan(sp);
	return 0;
}

bool segment_has_writer(struct segment_file *seg)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	return fcntl(seg->fd, F_OFD_GETLK, &lock) || lock.l_type != F_UNLCK;
}

void segments_check_writers(struct spool *sp)
{
	LIST_EACH(&sp->segments, it) {
		struct segment_file *seg = LIST_ENTRY(it, struct segment_file, link);

		if (seg->state != SEGMENT_WRITING || seg->is_own || seg->is_recovered || segment_has_writer(seg))
			continue;
		seg->is_recovered = true; /* what was appended and not announced must be found */
		spool_rescan(sp);
	}
}

void spool_writer_gone(struct spool *sp)
{
	segments_check_writers(sp);
	spool_poke(sp);
}

bool segment_is_read(const struct segment_file *seg)
{
	return seg->state != SEGMENT_WRITING && seg->handed_at >= seg->end;
}

void segment_check(struct spool *sp, struct segment_file *seg)
{
	bool is_read = seg->state == SEGMENT_SETTLED || (seg->state == SEGMENT_SEALED && segment_is_read(seg) && !seg->young);

	if (!is_read || sp->is_closing)
		return;
	if (!seg->rows && !seg->users && !seg->has_damage) {
		segment_set_state(seg, SEGMENT_CLEARING);
		sp->events.segment_gone(sp->events.arg, seg->number, seg->epoch);
		spool_poke(sp);
	} else if (seg->state == SEGMENT_SEALED && seg->rows && !seg->is_settling && !seg->has_damage) {
		struct op *o = op_new(OP_SETTLE, "");

		o->head.ref = (struct record_ref){.segment = seg->number, .epoch = seg->epoch};
		seg->is_settling = true;
		seg->users++;
		op_add(sp, o);
	}
}

/* --- state bytes ------------------------------------------------------------------- */

void segment_mark(struct spool *sp, struct record_ref ref, uint64_t offset, uint8_t state)
{
	struct segment_file *seg = segment_find(sp, ref.segment, ref.epoch);
	int err = seg ? disk_write(seg->fd, &state, 1, ref.at + offset) : -ENOENT;

	if (err) {
		spool_trouble(sp, "cannot mark a message in %s/segments/%08x: %s", sp->path, ref.segment, strerror(-err));
		return;
	}
	if (!seg->has_marks)
		spool_poke(sp);
	seg->has_marks = true;
}

struct sync_job {
	int fd;
	int err;
};

static void sync_run(void *arg)
{
	struct sync_job *j = arg;

	j->err = disk_sync(j->fd);
}

void segments_sync_marks(struct spool *sp)
{
	struct segment_file *seg;

	do {
		seg = NULL;
		LIST_EACH(&sp->segments, it) {
			seg = LIST_ENTRY(it, struct segment_file, link);
			if (seg->has_marks && seg->state != SEGMENT_CLEARING)
				break;
			seg = NULL;
		}
		if (!seg)
			break;

		/* Only this fiber clears and removes segments: `seg` stays. */
		struct sync_job j = {.fd = seg->fd};

		seg->has_marks = false;
		(void)fiber_work(sync_run, &j);
		if (j.err)
			spool_trouble(sp, "cannot sync %s/segments/%08x: %s", sp->path, seg->number, strerror(-j.err));
	} while (1);
}

/* --- used again or removed ----------------------------------------------------------- */

static void segment_remove(struct spool *sp, struct segment_file *seg)
{
	char name[NAME_SIZE];

	segment_name(name, seg->number);
	if (unlinkat(sp->segments_fd, name, 0))
		spool_trouble(sp, "cannot remove %s/segments/%s: %s", sp->path, name, strerror(errno));
	segment_set_state(seg, SEGMENT_GONE);
	segment_free(sp, seg);
}

static void segment_use_again(struct spool *sp, struct segment_file *seg)
{
	struct make_job j = {.sp = sp,
	                     .number = seg->number,
	                     .epoch = fresh_epoch(seg->epoch),
	                     .size = seg->size,
	                     .fd = seg->fd,
	                     .has_marks = seg->has_marks};

	(void)fiber_work(make_run, &j);
	if (j.err) {
		spool_trouble(sp, "cannot use %s/segments/%08x again: %s", sp->path, seg->number, strerror(-j.err));
		segment_remove(sp, seg);
		return;
	}
	segment_set_state(seg, SEGMENT_SPARE);
	seg->epoch = j.epoch;
	seg->end = seg->handed_at = SEGMENT_HEAD_SIZE;
	seg->has_marks = seg->is_settling = seg->is_own = seg->is_recovered = false;
	seg->row_bytes = 0;
}

void segments_clear(struct spool *sp)
{
	struct segment_file *seg;

	while ((seg = find_state(sp, SEGMENT_CLEARING))) {
		if (seg->size == sp->segment_size && count_state(sp, SEGMENT_SPARE) < SPARES_MAX)
			segment_use_again(sp, seg);
		else
			segment_remove(sp, seg);
	}
}

void segments_trim(struct spool *sp)
{
	if (count_state(sp, SEGMENT_SPARE) > 1)
		segment_remove(sp, find_state(sp, SEGMENT_SPARE));
}
