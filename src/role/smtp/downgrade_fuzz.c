/* SPDX-License-Identifier: Apache-2.0 */
/* Any content: however it is cut into pieces, the same comes out, and no encoded line is too long. */
#include "base/base.h"
#include "role/smtp/downgrade.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(struct str text, size_t step, struct buf *out)
{
	struct downgrade *d = downgrade_new();

	for (size_t at = 0; at < text.len; at += step)
		downgrade_write(d, str_cut(text, at, step), out);
	downgrade_end(d, out);
	downgrade_free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole = BUF_INIT(DOWNGRADE_OUT_MAX), pieces = BUF_INIT(DOWNGRADE_OUT_MAX);
	struct str text = str_n((const char *)data, size < DOWNGRADE_PIECE_MAX ? size : DOWNGRADE_PIECE_MAX);

	run(text, DOWNGRADE_PIECE_MAX, &whole);
	run(text, 1 + size % 7, &pieces);
	if (buf_check(&whole) || !str_eq(buf_str(&whole), buf_str(&pieces)))
		die("the pieces matter");
	buf_done(&whole);
	buf_done(&pieces);
	return 0;
}
