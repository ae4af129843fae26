/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/index.h"

#include <errno.h>

#include "check.h"

static struct index *open_index(void)
{
	struct buf why = BUF_INIT(1000);
	struct index *ix = NULL;
	bool is_new;

	CHECK_INT(index_open(check_folder(), &why, &ix, &is_new), 0);
	buf_done(&why);
	return ix;
}

static struct index_txn *begin(struct index *ix)
{
	struct index_txn *txn = NULL;

	CHECK_INT(index_begin(ix, true, &txn), 0);
	return txn;
}

static int put(struct index_txn *txn, const char *id, uint64_t at, int64_t next, uint32_t flags)
{
	struct recipient to = {.address = STR("r@example.org")};
	struct spool_recipient state = {.reason = {.text = STR("why")}};
	struct spool_message m = {.envelope = {.recipients = &to, .recipient_count = 1}, .recipients = &state};
	struct row_head head = {.ref = {.segment = 1, .epoch = 9, .at = at},
	                        .content_at = at + 200,
	                        .next_attempt = {next},
	                        .deferred_at = {5},
	                        .flags = flags};
	struct buf row = BUF_INIT(65536);
	int err;

	memcpy(m.envelope.queue_id, id, strlen(id));
	row_encode(&row, &head, &m);
	err = index_put(txn, str_of(id), &head, buf_str(&row));
	buf_done(&row);
	return err;
}

TEST(due_messages_come_in_the_order_of_time)
{
	struct index *ix = open_index();
	struct index_txn *txn = begin(ix);
	struct index_due due = {0};

	CHECK_INT(put(txn, "B2", 4096, 300, 0), 0);
	CHECK_INT(put(txn, "A1", 8192, 70000, 0), 0);
	CHECK_INT(put(txn, "C3", 12288, 5, 0), 0);
	CHECK_INT(put(txn, "D4", 16384, 1, SPOOL_HELD), 0);
	CHECK_INT(put(txn, "C3", 12288, 400, 0), 0);
	for (int i = 0; i < 3; i++) {
		static const char *const want[] = {"B2", "C3", "A1"};

		CHECK_INT(index_due_next(txn, &due), 0);
		CHECK_STR(str_of(due.id), str_of(want[i]));
		CHECK_INT(due.deferred_at.us, 5);
	}
	CHECK_INT(index_due_next(txn, &due), -ENOENT);
	index_abort(txn);
	index_close(ix);
}

TEST(one_queue_id_cannot_stand_for_two_records)
{
	struct index *ix = open_index();
	struct index_txn *txn = begin(ix);

	CHECK_INT(put(txn, "A1", 4096, 1, 0), 0);
	CHECK_INT(put(txn, "A1", 8192, 1, 0), -EEXIST);
	CHECK_INT(put(txn, "A1", 4096, 2, 0), 0);
	index_abort(txn);
	index_close(ix);
}

TEST(references_into_a_segment_are_counted)
{
	struct index *ix = open_index();
	struct index_txn *txn = begin(ix);
	struct record_ref from = {.segment = 1, .epoch = 9, .at = 4096}, to = {.segment = 2, .epoch = 8, .at = 65536};
	struct index_segment s;
	struct row_head head;
	char id[QUEUE_ID_SIZE];
	uint64_t at = 0;
	struct str row;

	CHECK_INT(put(txn, "A1", 4096, 1, 0), 0);
	CHECK_INT(put(txn, "B2", 8192, 1, 0), 0);
	CHECK_INT(put(txn, "B2", 8192, 2, 0), 0);
	CHECK_INT(index_get_segment(txn, 1, &s), 0);
	CHECK_INT(s.count, 2);
	CHECK(s.bytes > 0 && s.epoch == 9 && !s.is_settled);
	CHECK_INT(index_move(txn, STR("A1"), from, to), 0);
	CHECK_INT(index_move(txn, STR("A1"), from, to), -ENOENT);
	CHECK_INT(index_get(txn, STR("A1"), &row), 0);
	CHECK_INT(row_head_decode(row, &head), 0);
	CHECK_INT(head.content_at, 65536 + 200);
	CHECK_INT(index_ref_next(txn, 1, &at, id), 0);
	CHECK_INT(at, 8192);
	CHECK_STR(str_of(id), STR("B2"));
	at++;
	CHECK_INT(index_ref_next(txn, 1, &at, id), -ENOENT);
	CHECK_INT(index_settle(txn, 1, 9), 0);
	CHECK_INT(index_delete(txn, STR("B2"), &head), 0);
	CHECK_INT(index_get_segment(txn, 1, &s), 0);
	CHECK(s.count == 0 && s.bytes == 0 && s.is_settled);
	CHECK_INT(index_get_segment(txn, 2, &s), 0);
	CHECK_INT(s.count, 1);
	CHECK_INT(index_delete(txn, STR("B2"), &head), -ENOENT);
	index_abort(txn);
	index_close(ix);
}

TEST(a_row_is_whole_however_many_recipients_have_long_reasons)
{
	enum { COUNT = RECORD_RECIPIENTS_MAX };
	struct recipient *recipients = mem_alloc(COUNT * sizeof *recipients);
	struct spool_recipient *states = mem_alloc(COUNT * sizeof *states);
	struct spool_message m = {.envelope = {.queue_id = "A1", .recipients = recipients, .recipient_count = COUNT},
	                          .recipients = states};
	struct row_head head = {0};
	struct buf row = BUF_INIT(ROW_SIZE_MAX);
	char reply[4000];

	memset(reply, 'x', sizeof reply);
	for (size_t i = 0; i < COUNT; i++) {
		struct str text = str_n(reply, sizeof reply);

		recipients[i].address = STR("r@example.org");
		states[i].reason = (struct spool_reason){.dsn = STR("4.0.0"), .text = text, .mta = text, .diagnostic = text};
	}
	row_encode(&row, &head, &m);
	CHECK_INT(buf_check(&row), 0);
	buf_done(&row);
	free(states);
	free(recipients);
}

TEST(what_was_committed_is_there_at_the_next_open)
{
	struct index *ix = open_index();
	struct index_txn *txn = begin(ix);
	struct buf why = BUF_INIT(1000);
	uint64_t messages, held;
	struct str id, row;
	bool is_new;

	CHECK_INT(put(txn, "A1", 4096, 1, 0), 0);
	CHECK_INT(put(txn, "B2", 8192, 1, SPOOL_HELD), 0);
	CHECK_INT(index_commit(txn), 0);
	index_close(ix);
	CHECK_INT(index_open(check_folder(), &why, &ix, &is_new), 0);
	CHECK(is_new);
	txn = begin(ix);
	CHECK_INT(index_count(txn, &messages, &held), 0);
	CHECK(messages == 2 && held == 1);
	CHECK_INT(index_next(txn, STR(""), &id, &row), 0);
	CHECK_STR(id, STR("A1"));
	CHECK_INT(index_next(txn, STR("A1"), &id, &row), 0);
	CHECK_STR(id, STR("B2"));
	CHECK_INT(index_next(txn, STR("B2"), &id, &row), -ENOENT);
	CHECK_INT(index_settle(txn, 0, 0), 0);
	CHECK_INT(index_commit(txn), 0);
	index_close(ix);
	CHECK_INT(index_open(check_folder(), &why, &ix, &is_new), 0);
	CHECK(!is_new);
	index_close(ix);
	buf_done(&why);
}
