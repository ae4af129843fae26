/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/queue_format.h"

#include <stdlib.h>
#include <time.h>

#include "check.h"

static const struct message_queue_item ITEM = {
	.queue_id = {"4jX8JL2Zx5z1bpGl", 16},
	.queue = {"deferred", 8},
	.arrival = 1795305426000000,
	.size = 3300,
	.sender = {"sender@example.org", 18},
};

static void recipient(struct queue_format *f, const char *address, const char *original, const char *reason)
{
	struct message_queue_recipient r = {str_of(address), str_of(original), str_of(reason)};

	queue_format_recipient(f, &r);
}

/* What Debian's postqueue prints for the same queue. */
TEST(the_listing_has_the_columns_of_postfix)
{
	struct buf b = BUF_INIT(10000);
	struct message_queue_item bounce = ITEM;
	struct queue_format f;

	setenv("TZ", "UTC", 1);
	tzset();
	queue_format_init(&f, false, &b);
	bounce.queue_id = STR("4jX8JL2Z1Hz1bpG9");
	bounce.size = 307;
	bounce.sender = STR("");
	queue_format_item(&f, &bounce);
	recipient(&f, "a@x.example", "", "deferred transport");
	queue_format_item(&f, &ITEM);
	recipient(&f, "a@x.example", "", "deferred transport");
	recipient(&f, "c@x.example", "", "deferred transport");
	recipient(&f, "bc@y.example", "", "deferred transport");
	queue_format_end(&f);
	CHECK_STR(buf_str(&b), STR("----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------\n"
	                           "4jX8JL2Z1Hz1bpG9       307 Sat Nov 21 23:57:06 MAILER-DAEMON\n"
	                           "                                                          (deferred transport)\n"
	                           "                                               a@x.example\n"
	                           "\n"
	                           "4jX8JL2Zx5z1bpGl      3300 Sat Nov 21 23:57:06 sender@example.org\n"
	                           "                                                          (deferred transport)\n"
	                           "                                               a@x.example\n"
	                           "                                               c@x.example\n"
	                           "                                               bc@y.example\n"
	                           "\n"
	                           "-- 3 Kbytes in 2 Requests.\n"));
	queue_format_done(&f);
	buf_done(&b);
}

TEST(json_has_one_line_a_message)
{
	struct buf b = BUF_INIT(10000);
	struct message_queue_item item = ITEM;
	struct queue_format f;

	queue_format_init(&f, true, &b);
	item.is_expired = true;
	item.sender = STR("");
	queue_format_item(&f, &item);
	recipient(&f, "a@x.example", "Team@x.example", "said: \"no\"\n");
	recipient(&f, "b@x.example", "", "");
	queue_format_item(&f, &ITEM);
	queue_format_end(&f);
	CHECK_STR(buf_str(&b),
	          STR("{\"queue_name\": \"deferred\", \"queue_id\": \"4jX8JL2Zx5z1bpGl\", \"arrival_time\": 1795305426, "
	              "\"message_size\": 3300, \"forced_expire\": true, \"sender\": \"MAILER-DAEMON\", \"recipients\": ["
	              "{\"address\": \"a@x.example\", \"orig_address\": \"Team@x.example\", \"delay_reason\": \"said: "
	              "\\\"no\\\"\\u000a\"}, "
	              "{\"address\": \"b@x.example\"}]}\n"
	              "{\"queue_name\": \"deferred\", \"queue_id\": \"4jX8JL2Zx5z1bpGl\", \"arrival_time\": 1795305426, "
	              "\"message_size\": 3300, \"forced_expire\": false, \"sender\": \"sender@example.org\", \"recipients\": "
	              "[]}\n"));
	queue_format_done(&f);
	buf_done(&b);
}

TEST(an_empty_queue_says_so)
{
	struct buf b = BUF_INIT(1000);
	struct queue_format f;

	queue_format_init(&f, false, &b);
	queue_format_end(&f);
	CHECK_STR(buf_str(&b), STR("Mail queue is empty\n"));
	queue_format_done(&f);
	buf_done(&b);
}

TEST(states_have_their_marks)
{
	static const struct {
		const char *queue;
		bool is_expired;
		const char *want;
	} cases[] = {{"active", false, "Gl* "}, {"hold", false, "Gl! "}, {"deferred", true, "Gl# "}, {"incoming", false, "Gl  "}};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct buf b = BUF_INIT(1000);
		struct message_queue_item item = ITEM;
		struct queue_format f;

		item.queue = str_of(cases[i].queue);
		item.is_expired = cases[i].is_expired;
		queue_format_init(&f, false, &b);
		queue_format_item(&f, &item);
		CHECK_CASE(str_find_str(buf_str(&b), str_of(cases[i].want)) < b.len, cases[i].queue);
		queue_format_done(&f);
		buf_done(&b);
	}
}
