/* SPDX-License-Identifier: Apache-2.0 */
/* A row of the index that decodes gives the same message when it is encoded and decoded again. */
#include "base/base.h"
#include "spool/row.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_row(struct str row, const struct spool_message *m)
{
	struct buf again = BUF_INIT(ROW_SIZE_MAX);
	struct spool_message *copy;
	struct row_head head;

	if (row_head_decode(row, &head))
		die("a row without a head");
	row_encode(&again, &head, m);
	if (buf_check(&again) || row_decode(buf_str(&again), &copy))
		die("a row does not come back");
	if (copy->pending_count != m->pending_count || copy->ref.at != m->ref.at || copy->flags != m->flags)
		die("a row comes back changed");
	message_free(copy);
	buf_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str row = str_n((const char *)data, size);
	struct spool_message *m;

	if (!row_decode(row, &m)) {
		check_row(row, m);
		message_free(m);
	}
	return 0;
}
