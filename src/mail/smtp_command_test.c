/* SPDX-License-Identifier: Apache-2.0 */
#include "mail/smtp_command.h"

#include <errno.h>

#include "check.h"
#include "mail/envelope.h"

enum { ALL = COMMAND_UTF8 | COMMAND_DSN | COMMAND_SMTPUTF8 | COMMAND_AUTH | COMMAND_REQUIRETLS };

TEST(a_command_is_a_verb_and_the_rest)
{
	struct command c;

	command_parse(STR("  mail  FROM:<a@b>  SIZE=3 "), &c);
	CHECK_STR(c.verb, STR("mail"));
	CHECK_STR(c.argument, STR("FROM:<a@b>  SIZE=3"));
	command_parse(STR("QUIT"), &c);
	CHECK_STR(c.verb, STR("QUIT"));
	CHECK_STR(c.argument, STR(""));
	command_parse(STR(""), &c);
	CHECK_STR(c.verb, STR(""));
}

TEST(mail_takes_all_its_parameters)
{
	struct arena a = ARENA_INIT;
	struct mail_command m;
	struct reply r = mail_command_parse(STR("FROM: <me@example.org> SIZE=1000 body=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ+2B1 "
	                                        "AUTH=e+3Dmc2@example.com REQUIRETLS"),
	                                    ALL, &a, &m);

	CHECK_INT(r.code, 0);
	CHECK_STR(m.path, STR("<me@example.org>"));
	CHECK_STR(m.address, STR("me@example.org"));
	CHECK_INT(m.size, 1000);
	CHECK(m.is_8bitmime && m.is_smtputf8 && m.is_requiretls && m.has_auth);
	CHECK_INT(m.ret, RET_HDRS);
	CHECK_STR(m.envid, STR("QQ+1"));
	CHECK_STR(m.auth, STR("e=mc2@example.com"));
	arena_done(&a);
}

static const struct {
	const char *argument;
	unsigned flags;
	int code;
	const char *text;
} mail_cases[] = {
	{"", ALL, 501, "Syntax: MAIL FROM:<address>"},
	{"FROM:", ALL, 501, "Syntax: MAIL FROM:<address>"},
	{"<a@b>", ALL, 501, "Syntax: MAIL FROM:<address>"},
	{"FROM:<a@b", ALL, 501, "Bad sender address syntax"},
	{"FROM:<a@b> SIZE=x", ALL, 501, "Bad message size syntax"},
	{"FROM:<a@b> SIZE=99999999999999999999", ALL, 552, "Message size exceeds file system imposed limit"},
	{"FROM:<a@b> BODY=BINARYMIME", ALL, 555, "Unsupported option: BODY=BINARYMIME"},
	{"FROM:<a@b> FOO", ALL, 555, "Unsupported option: FOO"},
	{"FROM:<a@b> SMTPUTF8", 0, 555, "Unsupported option: SMTPUTF8"},
	{"FROM:<a@b> RET=FULL", 0, 501, "DSN support is disabled"},
	{"FROM:<a@b> RET=SOME", ALL, 501, "Bad RET parameter syntax"},
	{"FROM:<a@b> RET=FULL RET=FULL", ALL, 501, "Bad RET parameter syntax"},
	{"FROM:<a@b> ENVID=", ALL, 501, "Bad ENVID parameter syntax"},
	{"FROM:<a@b> ENVID=a+2", ALL, 501, "Bad ENVID parameter syntax"},
	{"FROM:<a@b> AUTH=<>", 0, 0, ""},
	{"FROM:<a@b> AUTH=<> AUTH=<>", ALL, 503, "Error: multiple AUTH= options"},
	{"FROM:<> REQUIRETLS", ALL, 503, "Error: REQUIRETLS requires non-null sender"},
};

TEST(mistakes_in_mail_get_their_reply)
{
	for (size_t i = 0; i < COUNT_OF(mail_cases); i++) {
		struct arena a = ARENA_INIT;
		struct mail_command m;
		struct reply r = mail_command_parse(str_of(mail_cases[i].argument), mail_cases[i].flags, &a, &m);

		CHECK_INT(r.code, mail_cases[i].code);
		CHECK_STR(r.text, str_of(mail_cases[i].text));
		arena_done(&a);
	}
}

static const struct {
	const char *argument;
	int code;
	uint8_t notify;
	const char *orcpt;
} rcpt_cases[] = {
	{"TO:<a@b>", 0, 0, ""},
	{"to:<a@b> NOTIFY=success,DELAY ORCPT=rfc822;x+40y", 0, NOTIFY_SUCCESS | NOTIFY_DELAY, "rfc822;x@y"},
	{"TO:<a@b> NOTIFY=NEVER", 0, NOTIFY_NEVER, ""},
	{"TO:<a@b> NOTIFY=NEVER,DELAY", 501, 0, ""},
	{"TO:<a@b> NOTIFY=", 501, 0, ""},
	{"TO:<a@b> ORCPT=x@y", 501, 0, ""},
	{"TO:<a@b> ORCPT=rfc822;a+0Ab", 501, 0, ""},
	{"TO:<a@b> SIZE=1", 555, 0, ""},
	{"TO:<>", 501, 0, ""},
	{"FROM:<a@b>", 501, 0, ""},
};

TEST(rcpt_takes_dsn_parameters)
{
	for (size_t i = 0; i < COUNT_OF(rcpt_cases); i++) {
		struct arena a = ARENA_INIT;
		struct rcpt_command c;
		struct reply r = rcpt_command_parse(str_of(rcpt_cases[i].argument), ALL, &a, &c);

		CHECK_CASE(r.code == rcpt_cases[i].code, rcpt_cases[i].argument);
		if (!r.code) {
			CHECK_INT(c.notify, rcpt_cases[i].notify);
			CHECK_STR(c.orcpt, str_of(rcpt_cases[i].orcpt));
		}
		arena_done(&a);
	}
}

TEST(xtext_goes_both_ways)
{
	struct buf b = BUF_INIT(100);
	struct arena a = ARENA_INIT;
	struct str back;

	xtext_encode(&b, STR("a+b=c d\xff"));
	CHECK_STR(buf_str(&b), STR("a+2Bb+3Dc+20d+FF"));
	CHECK_INT(xtext_decode(buf_str(&b), &a, &back), 0);
	CHECK_STR(back, STR("a+b=c d\xff"));
	CHECK_INT(xtext_decode(STR("a+2"), &a, &back), -EINVAL);
	CHECK_INT(xtext_decode(STR("a=b"), &a, &back), -EINVAL);
	arena_done(&a);
	buf_done(&b);
}
