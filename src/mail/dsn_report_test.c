/* SPDX-License-Identifier: Apache-2.0 */
#include "mail/dsn_report.h"

#include "check.h"

static const struct report_recipient RECIPIENTS[] = {
	{.address = {"bob@example.net", 15},
         .original = {"team@example.com", 16},
         .orcpt = {"rfc822;team@example.com", 23},
         .action = {"failed", 6},
         .dsn = {"5.1.1", 5},
         .text = {"host mx.example.net[192.0.2.1] said: 550 5.1.1 no such user (in reply to RCPT TO command)", 89},
         .mta = {"mx.example.net", 14},
         .diagnostic = {"550 5.1.1 no such\r\nuser", 23}},
	{.address = {"a b@example.net", 15}, .action = {"failed", 6}, .dsn = {"5.4.4", 5}, .text = {"Host not found", 14}},
};

static struct report report_usual(void)
{
	return (struct report){
		.kind = REPORT_FAILURE,
		.from = STR("Mail Delivery System <MAILER-DAEMON>"),
		.subject = STR("Undelivered Mail Returned to Sender"),
		.charset = STR("us-ascii"),
		.text = STR("This came back.\nSorry.\n"),
		.hostname = STR("mail.example.com"),
		.origin = STR("example.com"),
		.mail_name = STR("Postfix"),
		.to = STR("alice@example.com"),
		.queue_id = STR("4ABCDEFGHz1"),
		.sender = STR("alice@example.com"),
		.envid = STR("order 7"),
		.message_id = STR("<1@example.com>"),
		.arrival = {1000000000000000},
		.now = {1000000100000000},
		.retry_until = {1000400000000000},
		.recipients = RECIPIENTS,
		.recipient_count = 2,
		.content = STR("Subject: hi\r\nFrom: alice@example.com\r\n\r\nthe body\r\n"),
	};
}

static bool has(const struct buf *b, const char *text)
{
	return str_find_str(buf_str(b), str_of(text)) < b->len;
}

TEST(a_bounce_has_its_three_parts_and_all_fields)
{
	static const char *const wanted[] = {
		"From: Mail Delivery System <MAILER-DAEMON@example.com>\r\n",
		"Subject: Undelivered Mail Returned to Sender\r\n",
		"To: alice@example.com\r\n",
		"Auto-Submitted: auto-replied\r\n",
		"Content-Type: multipart/report; report-type=delivery-status;\r\n"
		"\tboundary=\"4ABCDEFGHz1.1000000100/mail.example.com\"\r\n",
		"Content-Type: text/plain; charset=us-ascii\r\n\r\nThis came back.\r\nSorry.\r\n\r\n<bob@",
		"<bob@example.net> (expanded from <team@example.com>): host\r\n    mx.example.net[192.0.2.1] said:",
		"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mail.example.com\r\n",
		"Original-Envelope-Id: order 7\r\n",
		"X-Postfix-Queue-ID: 4ABCDEFGHz1\r\nX-Postfix-Sender: rfc822; alice@example.com\r\nArrival-Date: ",
		"Final-Recipient: rfc822; bob@example.net\r\nOriginal-Recipient: rfc822;team@example.com\r\nAction: failed\r\n"
		"Status: 5.1.1\r\nRemote-MTA: dns; mx.example.net\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n\r\n",
		"Final-Recipient: rfc822; \"a b\"@example.net\r\nAction: failed\r\nStatus: 5.4.4\r\n"
		"Diagnostic-Code: X-Postfix; Host not found\r\n\r\n",
		"Content-Type: message/rfc822\r\n\r\nReturn-Path: <alice@example.com>\r\nSubject: hi\r\n",
		"\r\n\r\nthe body\r\n\r\n--4ABCDEFGHz1.1000000100/mail.example.com--\r\n",
	};
	struct report r = report_usual();
	struct buf b = BUF_INIT(1 << 20);

	report_format(&b, &r);
	for (size_t i = 0; i < COUNT_OF(wanted); i++)
		CHECK_CASE(has(&b, wanted[i]), wanted[i]);
	CHECK(!has(&b, "References"));
	CHECK(!has(&b, "8bit"));
	buf_done(&b);
}

TEST(only_the_header_comes_back_when_that_was_asked)
{
	struct report r = report_usual();
	struct buf b = BUF_INIT(1 << 20);

	r.is_header_only = true;
	r.is_threaded = true;
	report_format(&b, &r);
	CHECK(has(&b, "Content-Description: Undelivered Message Headers\r\nContent-Type: text/rfc822-headers\r\n"));
	CHECK(has(&b, "References: <1@example.com>\r\nIn-Reply-To: <1@example.com>\r\n"));
	CHECK(!has(&b, "the body"));
	buf_done(&b);
}

TEST(the_text_has_its_charset_and_is_left_out_of_a_postmaster_copy)
{
	struct report r = report_usual();
	struct buf b = BUF_INIT(1 << 20);

	r.from = STR("Post <a@b.example>");
	r.charset = STR("iso-8859-1");
	r.text = STR("Zur\xfc"
	             "ck\n");
	report_format(&b, &r);
	CHECK(report_is_8bit(&r));
	CHECK(has(&b, "From: Post <a@b.example>\r\n"));
	CHECK(has(&b, "Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\nZur\xfc"
	              "ck\r\n"));
	buf_reset(&b);
	r.is_postmaster_copy = true;
	report_format(&b, &r);
	CHECK(!report_is_8bit(&r));
	CHECK(!has(&b, "ck\r\n"));
	buf_done(&b);
}

TEST(a_delay_warning_says_how_long_it_will_be_tried)
{
	struct report r = report_usual();
	struct buf b = BUF_INIT(1 << 20);

	r.kind = REPORT_DELAY;
	report_format(&b, &r);
	CHECK(has(&b, "Will-Retry-Until: "));
	CHECK(!has(&b, "the body"));
	buf_done(&b);
}

TEST(addresses_in_utf_8_make_a_global_report)
{
	static const struct report_recipient rcpt = {
		.address = {"j\xc3\xbcrgen@example.net", 19}, .action = {"failed", 6}, .dsn = {"5.1.1", 5}, .text = {"no", 2}};
	struct report r = report_usual();
	struct buf b = BUF_INIT(1 << 20);

	r.is_utf8 = true;
	r.recipients = &rcpt;
	r.recipient_count = 1;
	report_format(&b, &r);
	CHECK(has(&b, "message/global-delivery-status"));
	CHECK(has(&b, "Final-Recipient: utf-8; j\xc3\xbcrgen@example.net\r\n"));
	CHECK(has(&b, "Content-Type: message/global\r\nContent-Transfer-Encoding: 8bit\r\n"));
	buf_done(&b);
}

TEST(control_characters_from_outside_do_not_come_through)
{
	static const struct report_recipient rcpt = {.address = {"a@example.net", 13},
	                                             .action = {"failed", 6},
	                                             .dsn = {"5.0.0", 5},
	                                             .text = {"x\r\nSubject: forged\x1b[0m", 22}};
	struct report r = report_usual();
	struct buf b = BUF_INIT(1 << 20);

	r.recipients = &rcpt;
	r.recipient_count = 1;
	report_format(&b, &r);
	CHECK(has(&b, "<a@example.net>: x Subject: forged?[0m\r\n"));
	buf_done(&b);
}

TEST(the_header_of_a_message_ends_at_the_empty_line)
{
	CHECK_STR(content_header(STR("A: b\r\n\r\nC")), STR("A: b\r\n"));
	CHECK_STR(content_header(STR("A: b\nD: e\n\nC")), STR("A: b\nD: e\n"));
	CHECK_STR(content_header(STR("A: b")), STR("A: b"));
	CHECK_STR(content_header(STR("\r\nbody")), STR(""));
}
