/* SPDX-License-Identifier: Apache-2.0 */
/* Logical lines of configuration files. */
#include "config/cfline.h"

#include "base/buf.h"

enum { LINE_MAX_SIZE = 1 << 24 };

static struct str take_physical(struct cfline_reader *r)
{
	size_t end = str_find(r->rest, '\n');
	struct str line = str_cut(r->rest, 0, end);

	r->rest = str_from(r->rest, end + 1);
	r->number++;
	return str_ends(line, STR("\r")) ? str_cut(line, 0, line.len - 1) : line;
}

static bool is_skipped(struct str line)
{
	struct str trimmed = str_trim(line);

	return str_is_empty(trimmed) || trimmed.ptr[0] == '#';
}

static void add_start(struct cfline *l, struct arena *a, size_t at, unsigned number)
{
	/* Room for 4, 8, 16 ... */
	if (l->start_count == 0 || (l->start_count >= 4 && (l->start_count & (l->start_count - 1)) == 0)) {
		struct line_start *larger = arena_alloc(a, (l->start_count ? 2 * l->start_count : 4) * sizeof(*larger));

		if (l->start_count)
			memcpy(larger, l->starts, l->start_count * sizeof(*larger));
		l->starts = larger;
	}
	l->starts[l->start_count++] = (struct line_start){at, number};
}

/* Adds all lines that continue the one in `joined`; nothing past them is taken. */
static void join(struct cfline_reader *r, struct arena *a, struct buf *joined, struct cfline *l)
{
	while (r->rest.len > 0) {
		struct cfline_reader ahead = *r;
		struct str line = take_physical(&ahead);

		if (!is_skipped(line)) {
			if (!ascii_is_space(line.ptr[0]))
				return;
			add_start(l, a, joined->len, ahead.number);
			buf_add(joined, line);
		}
		*r = ahead;
	}
}

static bool is_continued(const struct cfline_reader *r)
{
	struct cfline_reader ahead = *r;

	while (ahead.rest.len > 0) {
		struct str line = take_physical(&ahead);

		if (!is_skipped(line))
			return ascii_is_space(line.ptr[0]);
	}
	return false;
}

bool cfline_next(struct cfline_reader *r, struct arena *a, struct cfline *ret_line)
{
	while (r->rest.len > 0) {
		struct str line = take_physical(r);

		if (is_skipped(line))
			continue;
		*ret_line = (struct cfline){.text = line, .first = r->number, .is_continuation = ascii_is_space(line.ptr[0])};
		if (is_continued(r)) {
			struct buf joined = BUF_INIT(LINE_MAX_SIZE);

			buf_add(&joined, line);
			join(r, a, &joined, ret_line);
			ret_line->text = arena_str(a, buf_str(&joined));
			buf_done(&joined);
		}
		ret_line->text = str_trim(ret_line->text);
		return true;
	}
	return false;
}
