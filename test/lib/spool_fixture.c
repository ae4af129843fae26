/* SPDX-License-Identifier: Apache-2.0 */
#include "spool_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "spool/disk.h"
#include "spool/spool_internal.h"

enum { PATIENCE_S = 25 }; /* less than a test may take */

void fixture_run(fiber_fn *fn, void *arg)
{
	loop_init();
	fiber_start("test", fn, arg);
	loop_run();
	loop_done();
}

/* --- what the owner says -------------------------------------------------------------- */

static void on_incoming(void *arg, struct spool_message *m)
{
	struct fixture *f = arg;

	if (f->count == FIXTURE_MESSAGES_MAX)
		die("fixture: too many messages");
	f->messages[f->count++] = m;
	wait_list_wake_all(&f->arrived);
}

static void on_segment_gone(void *arg, uint32_t segment, uint32_t epoch)
{
	struct fixture *f = arg;

	f->gone++;
}

static void on_large_gone(void *arg, uint64_t number)
{
}

static void on_trouble(void *arg, struct str text)
{
	struct fixture *f = arg;

	buf_add(&f->troubles, text);
	buf_add_char(&f->troubles, '\n');
}

int fixture_open(struct fixture *f, const char *folder, uint64_t segment_size)
{
	struct spool_options o = {.path = folder, .segment_size = segment_size};
	struct spool_events events = {.arg = f,
	                              .incoming = on_incoming,
	                              .segment_gone = on_segment_gone,
	                              .large_gone = on_large_gone,
	                              .trouble = on_trouble};
	unsigned next_id = f->next_id;

	*f = (struct fixture){.next_id = next_id, .troubles = BUF_INIT(65536)};
	wait_list_init(&f->arrived);
	return spool_open(&o, &events, &f->troubles, &f->sp);
}

/* --- what the receiver asks -------------------------------------------------------------- */

static void grant_main(void *arg)
{
	struct fixture *f = arg;
	struct spool_grant g;
	int err = spool_grant(f->sp, &g);

	if (!f->ap || f->is_cut) {
		if (!err)
			close(g.fd);
	} else if (err) {
		appender_refuse(f->ap, -err);
	} else {
		appender_grant(f->ap, g.fd, g.segment, g.epoch, g.size);
	}
}

static void on_want_segment(void *arg)
{
	struct fixture *f = arg;

	if (!f->is_cut)
		fiber_start("grant", grant_main, f);
}

static void on_queued(void *arg, uint32_t segment, uint32_t epoch, uint64_t end, int is_sealed)
{
	struct fixture *f = arg;

	if (!f->is_cut && spool_queued(f->sp, segment, epoch, end, is_sealed))
		die("fixture: the owner refuses an end");
}

struct large_want {
	struct fixture *f;
	uint64_t token;
};

static void large_main(void *arg)
{
	struct large_want w = *(struct large_want *)arg;
	uint64_t number;
	int fd, err = spool_large_new(w.f->sp, &fd, &number);

	free(arg);
	if (err)
		appender_large_refuse(w.f->ap, w.token, -err);
	else
		appender_large_grant(w.f->ap, w.token, fd, number);
}

static void on_want_large(void *arg, uint64_t token)
{
	struct large_want *w = mem_alloc(sizeof *w);

	*w = (struct large_want){.f = arg, .token = token};
	fiber_start("large", large_main, w);
}

static void on_drop_large(void *arg, uint64_t number)
{
	struct fixture *f = arg;

	if (!f->is_cut)
		spool_large_drop(f->sp, number);
}

void fixture_start_appender(struct fixture *f)
{
	struct append_owner owner = {.arg = f,
	                             .want_segment = on_want_segment,
	                             .queued = on_queued,
	                             .want_large = on_want_large,
	                             .drop_large = on_drop_large};

	f->is_cut = false;
	f->ap = appender_new(&owner);
}

void fixture_kill_appender(struct fixture *f)
{
	f->is_cut = true;
	appender_free(f->ap);
	f->ap = NULL;
}

void fixture_close(struct fixture *f)
{
	if (f->ap)
		appender_free(f->ap);
	f->ap = NULL;
	spool_close(f->sp);
	for (size_t i = 0; i < f->count; i++)
		message_free(f->messages[i]);
	f->count = 0;
	buf_done(&f->troubles);
}

/* --- messages ----------------------------------------------------------------------------- */

int fixture_append(struct fixture *f, const char *sender, unsigned recipients, struct str content)
{
	struct arena a = ARENA_INIT;
	struct envelope e = {.sender = str_of(sender), .arrival = clock_wall(), .recipient_count = recipients};
	int err;

	snprintf(e.queue_id, sizeof e.queue_id, "%08Xz", ++f->next_id);
	e.recipients = arena_alloc(&a, (recipients ? recipients : 1) * sizeof *e.recipients);
	for (unsigned i = 0; i < recipients; i++)
		e.recipients[i].address = arena_printf(&a, "r%u@example.org", i);
	err = appender_append(f->ap, &e, content);
	arena_done(&a);
	return err;
}

bool fixture_wait(struct fixture *f, size_t count)
{
	struct instant deadline = clock_deadline(duration_s(PATIENCE_S));
	int err = 0;

	while (!err && f->count < count)
		err = wait_list_wait(&f->arrived, deadline);
	return !err;
}

static bool is_clearing(struct fixture *f)
{
	LIST_EACH(&f->sp->segments, it)
		if (LIST_ENTRY(it, struct segment_file, link)->state == SEGMENT_CLEARING)
			return true;
	return false;
}

bool fixture_wait_cleared(struct fixture *f)
{
	struct instant deadline = clock_deadline(duration_s(PATIENCE_S));
	int err = 0;

	while (!err && is_clearing(f) && instant_is_before(clock_now(), deadline))
		err = fiber_sleep(duration_ms(2));
	return !is_clearing(f);
}

static size_t find(struct fixture *f, const char *sender)
{
	size_t i = 0;

	while (i < f->count && !str_eq(f->messages[i]->envelope.sender, str_of(sender)))
		i++;
	return i;
}

struct spool_message *fixture_find(struct fixture *f, const char *sender)
{
	size_t i = find(f, sender);

	return i < f->count ? f->messages[i] : NULL;
}

static struct spool_message *remove_message(struct fixture *f, const char *sender)
{
	size_t i = find(f, sender);

	if (i == f->count)
		die("fixture: no message from %s", sender);

	struct spool_message *m = f->messages[i];

	f->messages[i] = f->messages[--f->count];
	return m;
}

void fixture_finish(struct fixture *f, const char *sender)
{
	spool_finish(f->sp, remove_message(f, sender));
}

void fixture_defer(struct fixture *f, const char *sender, struct wall_time next_attempt, const char *text)
{
	struct spool_message *m = remove_message(f, sender);

	for (uint32_t i = 0; i < m->envelope.recipient_count; i++)
		m->recipients[i].reason.text = arena_str(&m->arena, str_of(text));
	m->next_attempt = next_attempt;
	spool_defer(f->sp, m);
}

uint32_t fixture_take_due(struct fixture *f, struct wall_time now)
{
	uint32_t count, all = 0;

	do {
		if (spool_take_due(f->sp, now, 100, on_incoming, f, &count))
			die("fixture: cannot take from the index");
		all += count;
	} while (count || !spool_next_due(f->sp).us);
	return all;
}

struct buf fixture_content(struct fixture *f, const struct spool_message *m)
{
	struct buf content = BUF_INIT(64 << 20);
	size_t got = 0;
	int fd, err = m->large ? spool_large_fd(f->sp, m, &fd) : spool_segment_fd(f->sp, m, &fd);
	char *room = err ? NULL : buf_room(&content, m->envelope.content_size);

	if (room && !disk_read(fd, room, m->envelope.content_size, m->content_at, &got))
		buf_added(&content, got);
	return content;
}
