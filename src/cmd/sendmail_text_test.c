/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/sendmail_text.h"

#include <errno.h>

#include "check.h"

static int read_text(const char *text, struct sendmail_input in, struct buf *to)
{
	int err;

	buf_reset(to);
	in.file = fmemopen((char *)text, strlen(text), "r");
	err = sendmail_read(&in, to);
	fclose(in.file);
	return err;
}

TEST(a_lone_dot_ends_the_message_unless_told_otherwise)
{
	struct buf b = BUF_INIT(1000);

	CHECK_INT(read_text("A: b\n\nx\n.\nlost\n", (struct sendmail_input){0}, &b), 0);
	CHECK_STR(buf_str(&b), STR("A: b\n\nx\n"));
	CHECK_INT(read_text("A: b\r\n\r\nx\r\n.\r\nlost", (struct sendmail_input){0}, &b), 0);
	CHECK_STR(buf_str(&b), STR("A: b\n\nx\n"));
	CHECK_INT(read_text("A: b\n\nx\n.\nmore", (struct sendmail_input){.keeps_dots = true}, &b), 0);
	CHECK_STR(buf_str(&b), STR("A: b\n\nx\n.\nmore"));
	buf_done(&b);
}

TEST(line_ends_are_mended_as_configured)
{
	struct buf b = BUF_INIT(1000);

	CHECK_INT(read_text("A: b\nC: d\r\n", (struct sendmail_input){.line_ends = LINE_ENDS_STRICT}, &b), 0);
	CHECK_STR(buf_str(&b), STR("A: b\nC: d\r\n"));
	CHECK_INT(read_text("A: b\r\nC: d\n", (struct sendmail_input){.line_ends = LINE_ENDS_STRICT}, &b), 0);
	CHECK_STR(buf_str(&b), STR("A: b\nC: d\n"));
	CHECK_INT(read_text("A: b\r\n", (struct sendmail_input){.line_ends = LINE_ENDS_KEPT}, &b), 0);
	CHECK_STR(buf_str(&b), STR("A: b\r\n"));
	buf_done(&b);
}

TEST(a_message_past_the_limit_is_refused)
{
	struct buf b = BUF_INIT(1000);

	CHECK_INT(read_text("A: b\n\n123456789\n", (struct sendmail_input){.size_limit = 10}, &b), -EMSGSIZE);
	CHECK_INT(read_text("A: b\n", (struct sendmail_input){.size_limit = 10}, &b), 0);
	buf_done(&b);
}

TEST(the_envelope_line_of_a_mailbox_is_left_out)
{
	struct buf b = BUF_INIT(1000);

	CHECK_INT(read_text("From me Sat Nov 21\nA: b\nFrom x\n", (struct sendmail_input){0}, &b), 0);
	CHECK_STR(buf_str(&b), STR("A: b\nFrom x\n"));
	buf_done(&b);
}

TEST(a_from_line_is_added_where_it_lacks)
{
	static const struct {
		const char *content, *sender, *name, *want;
	} cases[] = {
		{"Subject: x\n\nb\n", "joe", "Joe User", "From: Joe User <joe>\nSubject: x\n\nb\n"},
		{"Subject: x\n\nb\n", "joe@a.example", "", "From: joe@a.example\nSubject: x\n\nb\n"},
		{"Subject: x\n\nb\n", "joe", "Joe \"J.\" User", "From: \"Joe \\\"J.\\\" User\" <joe>\nSubject: x\n\nb\n"},
		{"from: y\n\nb\n", "joe", "Joe", "from: y\n\nb\n"},
		{"no header here\n", "joe", "", "From: joe\n\nno header here\n"},
		{"\nbody\n", "joe", "", "From: joe\n\nbody\n"},
		{"Subject: x\n\nb\n", "", "Joe", "Subject: x\n\nb\n"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct buf b = BUF_INIT(1000);

		sendmail_add_from(&b, str_of(cases[i].content), str_of(cases[i].sender), str_of(cases[i].name));
		CHECK_STR(buf_str(&b), str_of(cases[i].want));
		buf_done(&b);
	}
}

TEST(recipients_come_from_arguments_and_headers)
{
	struct arena a = ARENA_INIT;
	struct sendmail_recipients r = {.arena = &a, .notify = NOTIFY_NEVER};

	CHECK_INT(sendmail_add_argument(&r, STR("root")), 0);
	CHECK_INT(sendmail_add_argument(&r, STR("Joe <joe@a.example>, ann@a.example")), 0);
	CHECK_INT(sendmail_add_argument(&r, STR("")), -EINVAL);
	sendmail_add_from_header(&r,
	                         STR("To: root,\n bob@b.example\nCc: (c) \"c d\"@c.example\nBcc: e@e.example\nX: f@f.example\n"));
	CHECK_INT(r.count, 6);
	CHECK_STR(r.recipients[0].address, STR("root"));
	CHECK_STR(r.recipients[1].address, STR("joe@a.example"));
	CHECK_STR(r.recipients[3].address, STR("bob@b.example"));
	CHECK_STR(r.recipients[4].address, STR("c d@c.example"));
	CHECK_STR(r.recipients[5].address, STR("e@e.example"));
	CHECK_INT(r.recipients[5].notify, NOTIFY_NEVER);
	arena_done(&a);
}

TEST(resent_headers_replace_the_others)
{
	struct arena a = ARENA_INIT;
	struct sendmail_recipients r = {.arena = &a};

	sendmail_add_from_header(&r, STR("To: old@a.example\nResent-To: new@a.example\nResent-Bcc: b@a.example\n"));
	CHECK_INT(r.count, 2);
	CHECK_STR(r.recipients[0].address, STR("new@a.example"));
	arena_done(&a);
}
