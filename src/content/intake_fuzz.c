/* SPDX-License-Identifier: Apache-2.0 */
/*
 * However the input is cut, the outcome is the same; and what comes out holds no CR
 * without LF, no LF without CR.
 */
#include "content/intake.h"

#include "base/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void feed(struct str rest, size_t step, bool is_strict, struct buf *out)
{
	struct intake in = {.is_stuffed = true, .is_strict = is_strict};

	while (rest.len > 0) {
		struct str piece = str_cut(rest, 0, step);
		char *room = buf_room(out, 2 * piece.len + 2);
		size_t len, used;
		bool has_ended = intake_feed(&in, piece, room, &len, &used);

		buf_added(out, len);
		rest = str_from(rest, used);
		if (has_ended)
			return;
	}
	char *room = buf_room(out, 3);

	buf_added(out, intake_finish(&in, room));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole = BUF_INIT(4 * size + 16), pieces = BUF_INIT(4 * size + 16);
	struct str input = str_n((const char *)data + (size > 0), size - (size > 0));
	bool is_strict = size > 0 && (data[0] & 1);

	feed(input, input.len, is_strict, &whole);
	feed(input, 1 + (size > 0 ? data[0] / 2 % 7 : 0), is_strict, &pieces);
	if (!str_eq(buf_str(&whole), buf_str(&pieces)))
		die("the outcome depends on how the input was cut");
	for (size_t i = 0; i < whole.len; i++)
		if ((whole.ptr[i] == '\r') != (i + 1 < whole.len && whole.ptr[i + 1] == '\n'))
			die("a bare line end came through");
	buf_done(&whole);
	buf_done(&pieces);
	return 0;
}
