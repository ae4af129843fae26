/* SPDX-License-Identifier: Apache-2.0 */
/* A report about whatever a stranger sent: the parts parted by NUL bytes. No line of it may be torn. */
#include "mail/dsn_report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct str next_part(struct str *rest)
{
	struct str part = str_cut(*rest, 0, str_find(*rest, '\0'));

	*rest = str_from(*rest, part.len + 1);
	return part;
}

static void check_lines(struct str text, struct str content)
{
	size_t end = size_min(text.len - content.len, str_find_str(text, STR("Return-Path: <")));

	for (size_t i = 0; i < end; i++)
		if (text.ptr[i] == '\n' && (!i || text.ptr[i - 1] != '\r'))
			die("a bare line feed in a report");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest = str_n((const char *)data, size);
	struct buf to = BUF_INIT(1 << 24);
	struct report_recipient rcpt = {.action = STR("failed"), .dsn = STR("5.0.0")};
	struct report r = {.kind = size % REPORT_KIND_COUNT,
	                   .hostname = STR("mx.example.org"),
	                   .origin = STR("example.org"),
	                   .mail_name = STR("Postfix"),
	                   .to = STR("a@example.org"),
	                   .queue_id = STR("4ABC"),
	                   .recipients = &rcpt,
	                   .recipient_count = 1,
	                   .is_utf8 = size & 1,
	                   .is_threaded = true};

	rcpt.address = next_part(&rest);
	rcpt.original = next_part(&rest);
	rcpt.orcpt = next_part(&rest);
	rcpt.text = next_part(&rest);
	rcpt.diagnostic = next_part(&rest);
	rcpt.mta = next_part(&rest);
	r.sender = next_part(&rest);
	r.message_id = next_part(&rest);
	r.envid = next_part(&rest);
	r.content = rest;
	report_format(&to, &r);
	check_lines(buf_str(&to), r.content);
	buf_done(&to);
	return 0;
}
