/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of a message in the making. It begins with some room for the headers that
 * are put in front, doubles as the message grows, and is written to a large file and
 * used again once it is too long for a record or the process has no more to give: see move_away().
 */
#include <errno.h>
#include <unistd.h>

#include "config/config.h"
#include "config/params.h"
#include "content/content_internal.h"
#include "mail/header.h"

enum {
	HEADROOM = 512,
	SIZE_FIRST = 4096,
	SPILL_LEAST = 128 << 10, /* below this a message waits for memory instead; what one with a file gathers */
	FILE_PIECE = 32 << 10,
	MEMORY_WAIT_S = 60,
	HEADERS_MAX = 512 << 10, /* of all headers together, or of a part's: they stay in memory until they end */
	NOTE_USUAL = 256,        /* made on the stack when no longer */
};

static bool has_checks(const struct content *c)
{
	return !maps_is_empty(c->header_checks) || !maps_is_empty(c->mime_header_checks) ||
	       !maps_is_empty(c->nested_header_checks) || !maps_is_empty(c->body_checks);
}

static bool move_away(struct append_share *share, bool must);

struct draft *draft_new(struct content *c, struct appender *ap, const struct draft_facts *facts)
{
	struct draft *d = mem_alloc(sizeof(*d));

	d->content = c;
	d->appender = ap;
	d->facts = *facts;
	d->intake = (struct intake){.is_stuffed = facts->is_stuffed,
	                            .is_strict = facts->is_strict,
	                            .is_lf = facts->is_submitted,
	                            .keeps_cr = !c->view->params->cleanup_replace_stray_cr_lf};
	if (has_checks(c) && !(facts->overrides & CONTENT_NO_HEADER_BODY_CHECKS))
		d->mime = mem_alloc(sizeof(*d->mime));
	else
		d->is_unchecked = true;
	append_share_init(&d->share, ap, move_away);
	append_share_begin(&d->share);
	header_front(d);
	append_share_end(&d->share);
	return d;
}

static void give_memory_back(struct draft *d)
{
	free(d->base);
	d->base = NULL;
	append_share_shrink(&d->share, 0);
	d->start = d->end = d->body_at = 0;
}

void draft_free(struct draft *d)
{
	if (!d)
		return;
	append_share_begin(&d->share);
	give_memory_back(d);
	append_share_done(&d->share);
	if (d->large)
		append_large_abort(d->large);
	free(d->mime);
	free(d);
}

void draft_note(struct draft *d, enum log_level level, const char *fmt, ...)
{
	struct content_note *note = arena_alloc(d->facts.arena, sizeof(*note));
	char usual[NOTE_USUAL];
	struct buf text;
	va_list args;

	buf_init_on(&text, usual, sizeof(usual), 4096);
	va_start(args, fmt);
	buf_vaddf(&text, fmt, args);
	va_end(args);
	note->level = level;
	note->text = arena_str(d->facts.arena, buf_str(&text));
	buf_done(&text);
	if (d->last_note)
		d->last_note->next = note;
	else
		d->notes = note;
	d->last_note = note;
}

void draft_fail(struct draft *d, int code, struct dsn_code dsn, const char *text)
{
	if (!d->failure.code)
		d->failure = (struct reply){.code = code, .dsn = dsn, .text = arena_str(d->facts.arena, str_of(text))};
}

void draft_fail_lookup(struct draft *d, const char *what, struct str address)
{
	draft_note(d, LOG_LEVEL_WARN, "%s: %s map lookup problem for %.*s -- message not accepted, try again later",
	           d->facts.envelope->queue_id, what, STR_ARG(address));
	draft_fail(d, 451, DSN(4, 3, 0), "Error: queue file write error");
}

static void fail_storage(struct draft *d, int err)
{
	draft_note(d, LOG_LEVEL_WARN, "%s: write queue file: %s", d->facts.envelope->queue_id, strerror(-err));
	if (err == -ENOSPC || err == -EDQUOT)
		draft_fail(d, 452, DSN(4, 3, 1), "Insufficient system storage");
	else
		draft_fail(d, 451, DSN(4, 3, 0), "Error: queue file write error");
}

bool draft_has_failed(const struct draft *d)
{
	return d->failure.code != 0;
}

bool draft_is_discarded(const struct draft *d)
{
	return d->is_discarded;
}

bool draft_has_bare_lf(const struct draft *d)
{
	return d->intake.has_bare_lf;
}

uint64_t draft_size(const struct draft *d)
{
	uint64_t whole = d->spilled + (d->end - d->start);

	return whole > d->front_size ? whole - d->front_size : 0;
}

/* True when the section is whole: an empty line, or a line that is no header, has come. */
static bool has_header_section(const struct draft *d)
{
	struct str rest = str_from(str_n(d->base + d->start, d->end - d->start), d->front_size);
	struct header h;

	if (str_starts(rest, STR("\r\n")) || str_find_str(rest, STR("\r\n\r\n")) < rest.len)
		return true;
	for (size_t len; (len = mailbox_line_len(rest)) > 0;)
		rest = str_from(rest, len);
	while (header_next(&rest, &h))
		;
	return str_has(rest, '\n');
}

static void fail_headers(struct draft *d)
{
	draft_note(d, LOG_LEVEL_WARN, "%s: message headers are longer than %d bytes", d->facts.envelope->queue_id, HEADERS_MAX);
	draft_fail(d, 552, DSN(5, 3, 4), "Error: message headers too long");
}

static int write_large(struct draft *d, struct str bytes)
{
	int err = d->large ? 0 : appender_large_open(d->appender, &d->large);

	return err ? err : append_large_write(d->large, bytes);
}

/*
 * Writes what is in memory to a large file, but for what the checks must see in one piece. False when nothing could be
 * written: the message must stay in memory for now.
 */
static bool spill(struct draft *d)
{
	size_t len;
	int err = 0;

	if (!d->is_header_done) {
		if (!has_header_section(d))
			return false;
		header_pass(d);
	}
	if (!d->failure.code)
		check_body(d, false);
	if (d->failure.code)
		return true;
	len = (d->mime && !d->is_unchecked && !d->is_discarded ? d->body_at : d->end) - d->start;
	if (len == 0) {
		if (d->end - d->start > HEADERS_MAX)
			fail_headers(d);
		return d->failure.code != 0;
	}
	if (!d->is_discarded)
		err = write_large(d, str_n(d->base + d->start, len));
	if (err)
		fail_storage(d, err);
	d->spilled += len;
	d->end -= d->start + len;
	memmove(d->base, d->base + d->start + len, d->end);
	d->start = d->body_at = 0;
	return true;
}

/* Gives back what is not needed, but for `least` bytes. */
static void shrink(struct draft *d, size_t least)
{
	size_t size = least;

	while (size <= d->end)
		size *= 2;
	if (size >= d->share.size)
		return;
	d->base = mem_resize(d->base, size);
	append_share_shrink(&d->share, size);
}

/* Memory is short while nothing comes from our client: what he sent goes to a file. */
static bool move_away(struct append_share *share, bool must)
{
	struct draft *d = CONTAINER_OF(share, struct draft, share);
	size_t before = share->size;

	if (!spill(d) && must) {
		draft_note(d, LOG_LEVEL_WARN, "%s: no memory for headers that do not end", d->facts.envelope->queue_id);
		draft_fail(d, 452, DSN(4, 3, 1), "Insufficient system storage");
	}
	if (d->failure.code || (d->large && d->end == 0))
		give_memory_back(d);
	else if (d->large)
		shrink(d, SIZE_FIRST);
	return share->size < before;
}

/* More memory, for a total of `size` or less when it was moved away meanwhile. */
static int grow(struct draft *d, size_t size, bool may_wait)
{
	struct instant deadline = may_wait ? clock_deadline(duration_s(MEMORY_WAIT_S)) : clock_now();
	int err = append_share_grow(&d->share, size, deadline);

	if (err)
		return err;
	if (!d->base)
		d->start = d->end = d->body_at = d->is_header_done ? 0 : HEADROOM;
	d->base = mem_resize(d->base, d->share.size);
	return 0;
}

/* The next size with room for `len` more bytes. */
static size_t size_with(const struct draft *d, size_t len)
{
	size_t size = size_max(d->share.size, SIZE_FIRST);

	while (size - size_max(d->end, HEADROOM) < len)
		size *= 2;
	return size;
}

/* Room for `len` more bytes behind the end. On failure the message has failed and its memory is given back. */
static void make_room(struct draft *d, size_t len)
{
	bool must_wait = false;
	int err = 0;

	while (!d->failure.code && !err && (!d->base || d->share.size - d->end < len)) {
		size_t used = d->end - d->start, size = size_with(d, len);
		bool may_wait = must_wait || used < SPILL_LEAST;

		if ((d->large ? used + len > SPILL_LEAST : size > RECORD_CONTENT_MAX && used > 0) && spill(d)) {
			shrink(d, SPILL_LEAST);
			continue;
		}
		err = grow(d, size, may_wait);
		if (err == -ETIMEDOUT && !may_wait) {
			must_wait = !spill(d);
			err = 0;
		}
	}
	if (err)
		fail_storage(d, err == -EMSGSIZE ? -ENOSPC : err);
	if (d->failure.code)
		give_memory_back(d);
}

void draft_add(struct draft *d, struct str bytes)
{
	make_room(d, bytes.len + 1);
	if (d->failure.code)
		return;
	memcpy(d->base + d->end, bytes.ptr, bytes.len);
	d->end += bytes.len;
}

static void check_size(struct draft *d)
{
	int64_t limit = d->content->view->params->message_size_limit;

	if (limit <= 0 || draft_size(d) <= (uint64_t)limit || d->failure.code)
		return;
	draft_note(d, LOG_LEVEL_WARN, "%s: queue file size limit exceeded", d->facts.envelope->queue_id);
	draft_fail(d, 552, DSN(5, 3, 4), "Error: message file too big");
	give_memory_back(d);
}

static void check_header_size(struct draft *d)
{
	if (d->has_headers || d->is_header_done || d->failure.code || d->end - d->start <= HEADERS_MAX)
		return;
	d->has_headers = has_header_section(d);
	if (d->has_headers)
		return;
	fail_headers(d);
	give_memory_back(d);
}

/* At most this much is taken at once, so that room for it can be made. */
static struct str piece_of(struct str bytes)
{
	return str_cut(bytes, 0, FILE_PIECE);
}

static bool take(struct draft *d, struct str bytes, size_t *ret_used)
{
	size_t len, room = 2 * bytes.len + 2;
	bool has_ended;

	make_room(d, room);
	if (d->failure.code) {
		/* The end must still be found; what is read goes nowhere. */
		char *sink = mem_alloc(room);

		has_ended = intake_feed(&d->intake, bytes, sink, &len, ret_used);
		free(sink);
		return has_ended;
	}
	has_ended = intake_feed(&d->intake, bytes, d->base + d->end, &len, ret_used);
	d->end += len;
	check_size(d);
	check_header_size(d);
	return has_ended;
}

bool draft_data(struct draft *d, struct str bytes, size_t *ret_used)
{
	size_t used = 0, total = 0;
	bool has_ended = false;

	append_share_begin(&d->share);
	while (total < bytes.len && !has_ended) {
		has_ended = take(d, piece_of(str_from(bytes, total)), &used);
		total += used;
	}
	append_share_end(&d->share);
	*ret_used = total;
	return has_ended;
}

void draft_chunk(struct draft *d, struct str bytes)
{
	size_t used;

	(void)draft_data(d, bytes, &used);
}

struct file_read {
	int fd;
	char *bytes;
	off_t at;
	ssize_t len; /* or -errno */
};

static void read_piece(void *arg)
{
	struct file_read *r = arg;

	do
		r->len = pread(r->fd, r->bytes, FILE_PIECE, r->at);
	while (r->len < 0 && errno == EINTR);
	if (r->len < 0)
		r->len = -errno;
}

void draft_file(struct draft *d, int fd)
{
	/* On a helper thread: whose file that is and how slow, we cannot know. */
	struct file_read r = {.fd = fd, .bytes = mem_alloc(FILE_PIECE)};

	/* A file without end must not be read to its end: once refused, the rest does not matter. */
	while (fiber_work(read_piece, &r) == 0 && r.len > 0 && !d->failure.code) {
		draft_chunk(d, str_n(r.bytes, (size_t)r.len));
		r.at += r.len;
	}
	if (r.len < 0 || fiber_is_cancelled())
		fail_storage(d, r.len < 0 ? (int)r.len : -ECANCELED);
	free(r.bytes);
}

/* The last line of BDAT or of a file may lack its end. */
static void finish_lines(struct draft *d)
{
	if (d->facts.is_stuffed)
		return;
	make_room(d, 4);
	if (!d->failure.code)
		d->end += intake_finish(&d->intake, d->base + d->end);
}

struct reply draft_finish(struct draft *d, struct content_note **ret_notes)
{
	/* Until the message is freed: nobody moves it any more. */
	append_share_begin(&d->share);
	finish_lines(d);
	if (!d->failure.code && !d->base)
		make_room(d, 1);
	if (!d->failure.code && !d->is_header_done)
		header_pass(d);
	if (!d->failure.code && !d->is_discarded)
		check_body(d, true);
	if (!d->failure.code && !d->is_discarded)
		expand_envelope(d);
	d->facts.envelope->content_size = d->spilled + (d->end - d->start);
	*ret_notes = d->notes;
	return d->failure;
}

struct reply draft_commit(struct draft *d, struct content_note **ret_notes)
{
	struct str content = str_n(d->base + d->start, d->end - d->start);
	int err = 0;

	d->notes = d->last_note = NULL;
	if (!d->large) {
		err = appender_append(d->appender, d->facts.envelope, content);
	} else {
		if (content.len > 0)
			err = append_large_write(d->large, content);
		if (err)
			append_large_abort(d->large);
		else
			err = append_large_commit(d->large, d->facts.envelope);
		d->large = NULL;
	}
	if (err)
		fail_storage(d, err);
	*ret_notes = d->notes;
	return d->failure;
}

void draft_make_headroom(struct draft *d, size_t len)
{
	size_t used = d->end - d->start, size = d->share.size;

	if (d->start >= len)
		return;
	while (size < len + used)
		size *= 2;
	if (size > d->share.size) {
		/* A few headers more than there was room for: there is no waiting here. */
		if (append_share_grow(&d->share, size, clock_now())) {
			draft_fail(d, 451, DSN(4, 3, 0), "Error: queue file write error");
			return;
		}
		d->base = mem_resize(d->base, size);
	}
	memmove(d->base + (size - used), d->base + d->start, used);
	d->body_at += (size - used) - d->start;
	d->start = size - used;
	d->end = size;
}
