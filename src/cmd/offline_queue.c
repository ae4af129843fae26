/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/offline_queue.h"

#include <errno.h>
#include <unistd.h>

#include "process/process.h"
#include "spool/index.h"
#include "spool/row.h"

typedef int item_fn(const struct message *m, void *arg);

static int give(const struct spool_message *m, item_fn *item, void *arg)
{
	const struct envelope *e = &m->envelope;
	struct message out = {.type = MESSAGE_QUEUE_ITEM};
	int err;

	out.queue_item = (struct message_queue_item){
		.queue_id = str_of(e->queue_id),
		.queue = m->flags & SPOOL_HELD ? STR("hold") : STR("deferred"),
		.arrival = (uint64_t)e->arrival.us,
		.size = e->content_size,
		.sender = e->sender,
		.is_expired = (m->flags & SPOOL_EXPIRED) != 0,
		.next_attempt = (uint64_t)m->next_attempt.us,
	};
	err = item(&out, arg);
	for (uint32_t i = 0; i < e->recipient_count && !err; i++) {
		if (m->recipients[i].is_done)
			continue;
		out = (struct message){.type = MESSAGE_QUEUE_RECIPIENT};
		out.queue_recipient = (struct message_queue_recipient){.address = e->recipients[i].address,
		                                                       .original = e->recipients[i].original,
		                                                       .reason = m->recipients[i].reason.text};
		err = item(&out, arg);
	}
	return err;
}

static int walk(struct index_txn *txn, item_fn *item, void *arg)
{
	char last[QUEUE_ID_SIZE] = "";
	struct str id, row;
	int err;

	while (!(err = index_next(txn, str_of(last), &id, &row))) {
		struct spool_message *m;

		memset(last, 0, sizeof last);
		memcpy(last, id.ptr, size_min(id.len, sizeof last - 1));
		if (row_decode(row, &m))
			continue;
		err = give(m, item, arg);
		message_free(m);
		if (err)
			return err;
	}
	return err == -ENOENT ? 0 : err;
}

int offline_queue_list(struct str queue_directory, item_fn *item, void *arg)
{
	struct buf path = BUF_INIT(4096), why = BUF_INIT(1000);
	struct index_txn *txn;
	struct index *ix;
	bool is_new;
	int err = 0;

	/* Only what is there is opened: a file made here would belong to the wrong user. */
	buf_addf(&path, "%.*s/" PROCESS_SPOOL_FOLDER "/index/data.mdb", STR_ARG(queue_directory));
	if (access(buf_cstr(&path), R_OK | W_OK))
		err = -errno;
	buf_cut(&path, path.len - strlen("/data.mdb"));
	if (!err)
		err = index_open(buf_cstr(&path), &why, &ix, &is_new);
	if (!err) {
		err = index_begin(ix, false, &txn);
		if (!err) {
			err = walk(txn, item, arg);
			index_abort(txn);
		}
		index_close(ix);
	}
	buf_done(&path);
	buf_done(&why);
	return err;
}
