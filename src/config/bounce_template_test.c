/* SPDX-License-Identifier: Apache-2.0 */
#include "config/bounce_template.h"

#include "check.h"

TEST(built_in_templates_have_all_their_parts)
{
	struct bounce_templates t;

	bounce_templates_init(&t);
	for (size_t i = 0; i < REPORT_KIND_COUNT; i++) {
		CHECK_STR(t.of[i].charset, STR("us-ascii"));
		CHECK_STR(t.of[i].from, STR("Mail Delivery System <MAILER-DAEMON>"));
		CHECK(t.of[i].subject.len > 0 && t.of[i].postmaster_subject.len > 0);
		CHECK(str_starts(t.of[i].text, STR("This is the mail system at host $myhostname.\n\n")));
	}
	CHECK_STR(t.of[REPORT_FAILURE].subject, STR("Undelivered Mail Returned to Sender"));
	CHECK_STR(t.of[REPORT_FAILURE].postmaster_subject, STR("Postmaster Copy: Undelivered Mail"));
	bounce_templates_done(&t);
}

TEST(a_file_replaces_what_it_names_and_nothing_else)
{
	static const char file[] = "# ours\n"
				   "failure_template = <<EOF\n"
				   "Charset: utf-8\n"
				   "SUBJECT:   came back  \n"
				   "\n"
				   "f\xc3\xbcr $myhostname\n"
				   "\n"
				   " EOF of another kind\n"
				   "EOF\n"
				   "\n"
				   "delay_template=<< END\n"
				   "\n"
				   "wait\n"
				   "END\n";
	struct bounce_templates t;
	struct buf why = BUF_INIT(1000);

	bounce_templates_init(&t);
	CHECK_INT(bounce_templates_parse(&t, STR("/etc/b"), str_n(file, sizeof(file) - 1), &why), 0);
	CHECK_STR(buf_str(&why), STR(""));
	CHECK_STR(t.of[REPORT_FAILURE].charset, STR("utf-8"));
	CHECK_STR(t.of[REPORT_FAILURE].subject, STR("came back"));
	CHECK_STR(t.of[REPORT_FAILURE].postmaster_subject, STR("Postmaster Copy: Undelivered Mail"));
	CHECK_STR(t.of[REPORT_FAILURE].from, STR("Mail Delivery System <MAILER-DAEMON>"));
	CHECK_STR(t.of[REPORT_FAILURE].text, STR("f\xc3\xbcr $myhostname\n\n EOF of another kind\n"));
	CHECK_STR(t.of[REPORT_DELAY].text, STR("wait\n"));
	CHECK_STR(t.of[REPORT_DELAY].subject, STR("Delayed Mail (still being retried)"));
	CHECK(str_starts(t.of[REPORT_VERIFY].text, STR("This is the mail system")));
	bounce_templates_done(&t);
	buf_done(&why);
}

TEST(what_is_wrong_is_told_with_its_line)
{
	static const struct {
		const char *file, *why;
	} rows[] = {
		{"\nfoo_template = <<EOF\nEOF\n", "/etc/b:2: unknown template"},
		{"Subject: x\n", "/etc/b:1: expected failure_template = <<EOF"},
		{"failure_template = <<\n\n", "/etc/b:1: expected failure_template = <<EOF"},
		{"# x\nfailure_template = <<EOF\nSubject: x\n\ntext\n", "/etc/b:2: the line that ends this template is missing"},
		{"failure_template = <<EOF\nCharset: utf-8\nTo: x\n\nEOF\n", "/etc/b:3: the headers of a template are Charset"},
		{"failure_template = <<EOF\nSubject: \xc3\xbc\n\nEOF\n", "/etc/b:2: a header is one line of ASCII"},
		{"failure_template = <<EOF\nSubject: x\n y\n\nEOF\n", "/etc/b:3: a header is one line of ASCII"},
		{"failure_template = <<EOF\nno header\n\nEOF\n", "/etc/b:2: a header is one line of ASCII"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct bounce_templates t;
		struct buf why = BUF_INIT(1000);

		bounce_templates_init(&t);
		CHECK_CASE(bounce_templates_parse(&t, STR("/etc/b"), str_of(rows[i].file), &why) < 0, rows[i].why);
		CHECK_CASE(str_starts(buf_str(&why), str_of(rows[i].why)), buf_cstr(&why));
		bounce_templates_done(&t);
		buf_done(&why);
	}
}

TEST(a_file_that_cannot_be_read_says_so)
{
	struct bounce_templates t;
	struct buf why = BUF_INIT(1000);

	bounce_templates_init(&t);
	CHECK(bounce_templates_read(&t, STR("/nonexistent/b"), &why) < 0);
	CHECK_STR(buf_str(&why), STR("cannot read /nonexistent/b: No such file or directory"));
	bounce_templates_done(&t);
	buf_done(&why);
}
