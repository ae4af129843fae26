/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/sendmail_session.h"

#include <stdlib.h>

#include "check.h"

struct taken {
	struct buf envelopes;
	struct buf contents;
	int code;
};

static struct reply submit(void *arg, const struct envelope *e, struct str content, struct arena *a)
{
	struct taken *t = arg;

	buf_addf(&t->envelopes, "<%.*s>", STR_ARG(e->sender));
	for (uint32_t i = 0; i < e->recipient_count; i++)
		buf_addf(&t->envelopes, " <%.*s>", STR_ARG(e->recipients[i].address));
	buf_add_char(&t->envelopes, '\n');
	buf_add(&t->contents, content);
	if (t->code)
		return (struct reply){.code = t->code, .dsn = DSN(4, 3, 0), .text = STR("later")};
	return (struct reply){.code = 250, .dsn = DSN(2, 0, 0), .text = STR("Ok: queued as 4X")};
}

/* The replies, as one text; the caller frees them. */
static char *converse(const char *input, struct taken *t)
{
	struct sendmail_session s = {.hostname = STR("mx.example.org"),
	                             .mail_name = STR("Postfix"),
	                             .size_limit = 40,
	                             .recipient_limit = 2,
	                             .submit = submit,
	                             .arg = t};
	char *output = NULL;
	size_t size = 0;

	s.in = fmemopen((char *)input, strlen(input), "r");
	s.out = open_memstream(&output, &size);
	sendmail_session_run(&s);
	fclose(s.in);
	fclose(s.out);
	return output;
}

static void check(const char *input, int code, const char *replies, const char *envelopes, const char *contents)
{
	struct taken t = {.envelopes = BUF_INIT(1000), .contents = BUF_INIT(1000), .code = code};
	char *output = converse(input, &t);
	struct str rest = str_of(output), line;
	struct buf codes = BUF_INIT(1000);

	while (str_next(&rest, "\r\n", &line))
		buf_addf(&codes, "%.*s ", 3, line.ptr);
	CHECK_STR(buf_str(&codes), str_of(replies));
	CHECK_STR(buf_str(&t.envelopes), str_of(envelopes));
	CHECK_STR(buf_str(&t.contents), str_of(contents));
	free(output);
	buf_done(&codes);
	buf_done(&t.envelopes);
	buf_done(&t.contents);
}

TEST(two_messages_pass_in_one_conversation)
{
	check("HELO me\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nRCPT TO:<root>\r\nDATA\r\nSubject: "
	      "x\r\n\r\n..dot\r\n.\r\n"
	      "MAIL FROM:<>\nRCPT TO:<e@f.example>\nDATA\ny\n.\nQUIT\n",
	      0, "220 250 250 250 250 354 250 250 250 354 250 221 ", "<a@b.example> <c@d.example> <root>\n<> <e@f.example>\n",
	      "Subject: x\n\n.dot\ny\n");
}

TEST(the_order_of_commands_and_the_limits_hold)
{
	check("RCPT TO:<a@b>\nDATA\nMAIL FROM:<a@b> SIZE=41\nMAIL FROM:<a@b>\nMAIL FROM:<a@b>\nRCPT TO:<1@b>\nRCPT "
	      "TO:<2@b>\nRCPT TO:<3@b>\n"
	      "DATA\n1234567890123456789012345678901234567890\n.\nWHAT\nNOOP\nVRFY x\nQUIT\n",
	      0, "220 503 503 552 250 503 250 250 452 354 552 502 250 252 221 ", "", "");
}

TEST(a_refusal_is_passed_on)
{
	check("MAIL FROM:<a@b>\nRCPT TO:<1@b>\nDATA\nx\n.\nQUIT\n", 451, "220 250 250 354 451 221 ", "<a@b> <1@b>\n", "x\n");
}

TEST(input_that_ends_within_a_message_sends_nothing)
{
	check("MAIL FROM:<a@b>\nRCPT TO:<1@b>\nDATA\nhalf a mess", 0, "220 250 250 354 ", "", "");
}

TEST(reset_forgets_the_message)
{
	check("EHLO me\nMAIL FROM:<a@b>\nRSET\nRCPT TO:<1@b>\nQUIT\n", 0, "220 250 250 250 250 250 250 250 250 250 503 221 ", "",
	      "");
}
