/* SPDX-License-Identifier: Apache-2.0 */
#include "mail/envelope.h"

#include <errno.h>

#include "check.h"

static struct recipient two[] = {
	{.address = {"a@example.org", 13},
         .original = {"alias@example.org", 17},
         .orcpt = {"rfc822;x@y", 10},
         .notify = NOTIFY_DELAY},
	{.address = {"b c@example.org", 15}, .notify = NOTIFY_NEVER},
};

static struct envelope sample(void)
{
	return (struct envelope){
		.queue_id = "4fVHg10K5Zz1k",
		.arrival = {1700000000123456},
		.sender = STR("me@example.com"),
		.recipients = two,
		.recipient_count = 2,
		.flags = ENVELOPE_8BITMIME | ENVELOPE_HOLD,
		.ret = RET_HDRS,
		.envid = STR("QQ314159"),
		.client_name = STR("unknown"),
		.sasl_username = STR("fred"),
		.message_id = STR("<1@example.com>"),
		.content_size = 1234,
	};
}

TEST(an_envelope_comes_back_as_it_was)
{
	struct buf b = BUF_INIT(4096);
	struct arena a = ARENA_INIT;
	struct envelope e = sample(), got;

	envelope_encode(&b, &e);
	CHECK_INT(buf_check(&b), 0);
	CHECK_INT(envelope_decode(buf_str(&b), &a, &got), 0);
	CHECK_STR(str_of(got.queue_id), STR("4fVHg10K5Zz1k"));
	CHECK_INT(got.arrival.us, 1700000000123456);
	CHECK_STR(got.sender, e.sender);
	CHECK_INT(got.flags, e.flags);
	CHECK_INT(got.ret, RET_HDRS);
	CHECK_STR(got.envid, e.envid);
	CHECK_STR(got.sasl_username, STR("fred"));
	CHECK_STR(got.message_id, STR("<1@example.com>"));
	CHECK_INT(got.content_size, 1234);
	CHECK_INT(got.recipient_count, 2);
	CHECK_STR(got.recipients[0].orcpt, STR("rfc822;x@y"));
	CHECK_STR(got.recipients[1].address, STR("b c@example.org"));
	CHECK_INT(got.recipients[1].notify, NOTIFY_NEVER);
	arena_done(&a);
	buf_done(&b);
}

TEST(a_cut_or_longer_envelope_is_refused)
{
	struct buf b = BUF_INIT(4096);
	struct arena a = ARENA_INIT;
	struct envelope e = sample(), got;

	envelope_encode(&b, &e);
	for (size_t len = 0; len < b.len; len++)
		CHECK_INT(envelope_decode(str_n(b.ptr, len), &a, &got), -EBADMSG);
	buf_add_char(&b, 'x');
	CHECK_INT(envelope_decode(buf_str(&b), &a, &got), -EBADMSG);
	arena_done(&a);
	buf_done(&b);
}

TEST(a_queue_id_that_could_be_a_path_is_refused)
{
	struct buf b = BUF_INIT(4096);
	struct arena a = ARENA_INIT;
	struct envelope e = sample(), got;

	memcpy(e.queue_id, "../etc", 7);
	envelope_encode(&b, &e);
	CHECK_INT(envelope_decode(buf_str(&b), &a, &got), -EBADMSG);
	arena_done(&a);
	buf_done(&b);
}

TEST(a_copy_owns_all_its_strings)
{
	struct arena a = ARENA_INIT;
	char sender[] = "me@example.com";
	struct envelope e = sample(), got;

	e.sender = str_of(sender);
	envelope_copy(&got, &e, &a);
	sender[0] = 'X';
	CHECK_STR(got.sender, STR("me@example.com"));
	CHECK(got.recipients != e.recipients);
	CHECK_STR(got.recipients[0].original, STR("alias@example.org"));
	arena_done(&a);
}
