/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The power goes at every write of a run. A script appends, delivers, defers, takes up again, compacts and
 * uses segments anew on a recorded disk (test/lib/fakedisk.h); then for every change the disk as a cut before
 * it leaves it is laid out, opened, and compared with what had been promised:
 *
 * - a message whose append had returned is there, once, undamaged, with every recipient that was not done;
 * - one that was finished may be there again, but not if the spool had been closed in order since;
 * - one that nobody had begun to append is not there;
 * - when all that is left is delivered, so is the disk: only spare segments and that of compaction stay.
 */
#include <errno.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "fakedisk.h"
#include "spool/spool_internal.h"
#include "spool_fixture.h"

enum { SEGMENT = 96 << 10, MESSAGES_MAX = 512, LARGE_EVERY = 25, LEFT_MAX = 4 /* spares, and the one that compaction writes */ };
enum note { BEGUN, ACKNOWLEDGED, FIRST_DONE, FINISHED, CLOSED };

/* What is known of each message, by number. */
struct promise {
	bool is_begun;
	bool is_acknowledged;
	bool is_first_done; /* recipient 0 may have been served */
	bool is_finished;
	bool is_gone; /* finished before an orderly end */
	unsigned seen;
};

struct script {
	struct fixture f;
	unsigned count; /* of messages */
	unsigned running;
	struct wait_list ended;
	const char *folder;
};

static struct str content_of(unsigned number, struct buf *b)
{
	size_t len = number % LARGE_EVERY == 7 ? 40000 : 200 + number * 37 % 6000;

	buf_reset(b);
	while (b->len < len)
		buf_addf(b, "message %u line %zu\r\n", number, b->len);
	return buf_str(b);
}

static unsigned recipients_of(unsigned number)
{
	return 1 + number % 3;
}

static unsigned number_of(const struct spool_message *m)
{
	unsigned long long number = MESSAGES_MAX;

	if (str_parse_u64(m->envelope.sender, &number) || number >= MESSAGES_MAX)
		die("power_test: a message that nobody wrote: %.*s", STR_ARG(m->envelope.sender));
	return (unsigned)number;
}

/* --- the run ------------------------------------------------------------------------------ */

static int append_large(struct script *s, unsigned number, struct str content)
{
	struct recipient to[3] = {
		{.address = STR("a@example.org")}, {.address = STR("b@example.org")}, {.address = STR("c@example.org")}};
	struct envelope e = {.recipients = to, .recipient_count = recipients_of(number)};
	struct append_large *l;
	char sender[16];
	int err = appender_large_open(s->f.ap, &l);

	if (err)
		return err;
	snprintf(sender, sizeof sender, "%u", number);
	snprintf(e.queue_id, sizeof e.queue_id, "%08XL", number);
	e.sender = str_of(sender);
	err = append_large_write(l, content);
	if (!err)
		return append_large_commit(l, &e);
	append_large_abort(l);
	return err;
}

static void append_main(void *arg)
{
	struct script *s = arg;
	struct buf b = BUF_INIT(1 << 20);
	unsigned number = s->count++;
	char sender[16];
	int err;

	snprintf(sender, sizeof sender, "%u", number);
	fakedisk_note(BEGUN, number);
	if (number % LARGE_EVERY == 7)
		err = append_large(s, number, content_of(number, &b));
	else
		err = fixture_append(&s->f, sender, recipients_of(number), content_of(number, &b));
	if (!err)
		fakedisk_note(ACKNOWLEDGED, number);
	CHECK_INT(err, 0);
	buf_done(&b);
	s->running--;
	wait_list_wake_all(&s->ended);
}

static void append_many(struct script *s, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		s->running++;
		fiber_start("append", append_main, s);
	}
	while (s->running)
		CHECK_INT(wait_list_wait(&s->ended, INSTANT_NEVER), 0);
}

static void serve_first(struct script *s, struct spool_message *m)
{
	fakedisk_note(m->envelope.recipient_count == 1 ? FINISHED : FIRST_DONE, number_of(m));
	spool_mark_done(s->f.sp, m, 0);
}

/* An attempt at everything in hand: of every six some fail, some are done in part, the others done. */
static void attempt(struct script *s, unsigned round, struct wall_time next)
{
	while (s->f.count) {
		struct spool_message *m = s->f.messages[s->f.count - 1];
		unsigned number = number_of(m), fate = (number + round) % 6;

		s->f.count--;
		if (fate == 0) {
			m->next_attempt = next;
			spool_defer(s->f.sp, m);
		} else if (fate == 1 && m->envelope.recipient_count > 1) {
			serve_first(s, m);
			m->next_attempt = next;
			spool_defer(s->f.sp, m);
		} else {
			fakedisk_note(FINISHED, number);
			spool_finish(s->f.sp, m);
		}
	}
}

static void reopen(struct script *s)
{
	fixture_close(&s->f);
	fakedisk_note(CLOSED, 0);
	CHECK_INT(fixture_open(&s->f, s->folder, SEGMENT), 0);
	fixture_start_appender(&s->f);
}

static void script_main(void *arg)
{
	struct script *s = arg;
	const struct wall_time past = {1}, future = {INT64_C(4000000000000000)};

	CHECK_INT(fixture_open(&s->f, s->folder, SEGMENT), 0);
	fixture_start_appender(&s->f);
	for (unsigned round = 0; round < 6; round++) {
		append_many(s, 24);
		CHECK(fixture_wait(&s->f, 24));
		attempt(s, round, round % 2 ? future : past);
	}
	reopen(s);
	append_many(s, 1);
	CHECK(fixture_wait(&s->f, 1));
	(void)fixture_take_due(&s->f, clock_wall());
	attempt(s, 3, future);
	/* Segments that are sparse now are compacted, their files used again. */
	CHECK_INT(fiber_sleep(duration_ms(600)), 0);
	append_many(s, 30);
	CHECK(fixture_wait(&s->f, 30));
	spool_flush(s->f.sp);
	(void)fixture_take_due(&s->f, clock_wall());
	attempt(s, 4, future);
	append_many(s, 8);
	CHECK_STR(buf_str(&s->f.troubles), STR(""));
	fixture_close(&s->f);
}

/* --- afterwards ------------------------------------------------------------------------------ */

struct look {
	struct fixture f;
	struct promise promises[MESSAGES_MAX];
	const char *folder;
	size_t cut;
	uint64_t seed;
	unsigned failures;
};

static void read_promises(struct look *l)
{
	size_t at = 0;
	unsigned number;
	int kind;

	memset(l->promises, 0, sizeof l->promises);
	while (fakedisk_next_note(l->cut, &at, &kind, &number)) {
		struct promise *p = &l->promises[number];

		switch ((enum note)kind) {
		case BEGUN:
			p->is_begun = true;
			break;
		case ACKNOWLEDGED:
			p->is_acknowledged = true;
			break;
		case FIRST_DONE:
			p->is_first_done = true;
			break;
		case FINISHED:
			p->is_finished = true;
			break;
		case CLOSED:
			for (size_t i = 0; i < MESSAGES_MAX; i++)
				l->promises[i].is_gone = l->promises[i].is_finished;
			break;
		}
	}
}

static void complain(struct look *l, unsigned number, const char *what)
{
	if (l->failures++ < 10)
		check_failed(__FILE__, __LINE__, "cut %zu luck %llu: message %u %s", l->cut, (unsigned long long)l->seed, number,
		             what);
}

static void look_at(struct look *l, struct spool_message *m)
{
	struct buf want = BUF_INIT(1 << 20), got = fixture_content(&l->f, m);
	unsigned number = number_of(m);
	struct promise *p = &l->promises[number];

	if (p->seen++)
		complain(l, number, "is there twice");
	if (!p->is_begun)
		complain(l, number, "is there before it was sent");
	if (p->is_gone)
		complain(l, number, "was over and is back");
	if (m->envelope.recipient_count != recipients_of(number))
		complain(l, number, "has other recipients");
	for (uint32_t i = 0; i < m->envelope.recipient_count; i++)
		if (m->recipients[i].is_done && !(i == 0 && p->is_first_done))
			complain(l, number, "has a recipient who never got it");
	if (!str_eq(buf_str(&got), content_of(number, &want)))
		complain(l, number, "is damaged");
	buf_done(&want);
	buf_done(&got);
}

/* Whatever the cut left, no segment stays for ever. */
static void check_reclaimed(struct look *l)
{
	struct spool_counts counts = {.indexed = 1};

	while (l->f.count)
		spool_finish(l->f.sp, l->f.messages[--l->f.count]);
	for (int i = 0; i < 1000 && (counts.indexed || counts.segments > LEFT_MAX); i++) {
		(void)fiber_sleep(duration_ms(2));
		spool_count(l->f.sp, &counts);
	}
	if (counts.indexed || counts.segments > LEFT_MAX || counts.active) {
		l->failures++;
		check_failed(__FILE__, __LINE__, "cut %zu: %llu segments, %llu indexed, %llu active stay", l->cut,
		             (unsigned long long)counts.segments, (unsigned long long)counts.indexed,
		             (unsigned long long)counts.active);
	}
}

static void look_main(void *arg)
{
	struct look *l = arg;

	if (fixture_open(&l->f, l->folder, SEGMENT)) {
		check_failed(__FILE__, __LINE__, "cut %zu: %s", l->cut, buf_cstr(&l->f.troubles));
		l->failures++;
		return;
	}
	while (!spool_is_recovered(l->f.sp))
		(void)fiber_sleep(duration_ms(1));
	spool_flush(l->f.sp);
	(void)fixture_take_due(&l->f, clock_wall());
	for (size_t i = 0; i < l->f.count; i++)
		look_at(l, l->f.messages[i]);
	for (unsigned i = 0; i < MESSAGES_MAX; i++) {
		const struct promise *p = &l->promises[i];

		if (p->is_acknowledged && !p->is_finished && !p->seen)
			complain(l, i, "is missing");
	}
	check_reclaimed(l);
	fixture_close(&l->f);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

TEST(no_power_cut_loses_or_damages_an_acknowledged_message)
{
	static struct script s;
	static struct look l;
	char run[128], after[128];
	const char *lucks = getenv("POWER_CUT_LUCKS");
	size_t count, cuts = 0;

	snprintf(run, sizeof run, "%s/run", check_folder());
	snprintf(after, sizeof after, "%s/after", check_folder());
	CHECK_INT(mkdir(run, 0700), 0);
	s.folder = run;
	wait_list_init(&s.ended);
	fakedisk_start(run);
	fixture_run(script_main, &s);
	fakedisk_stop();
	count = fakedisk_count();
	l.folder = after;
	for (l.cut = 0; l.cut <= count && l.failures < 10; l.cut++) {
		read_promises(&l);
		for (l.seed = 0; l.seed < (lucks ? strtoull(lucks, NULL, 10) : 1); l.seed++) {
			CHECK_INT(mkdir(after, 0700), 0);
			fakedisk_cut(l.cut, l.seed, after);
			for (size_t i = 0; i < MESSAGES_MAX; i++)
				l.promises[i].seen = 0;
			fixture_run(look_main, &l);
			nftw(after, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
			cuts++;
		}
	}
	fprintf(stderr, "%zu changes, %zu cuts, %u messages\n", count, cuts, s.count);
}
