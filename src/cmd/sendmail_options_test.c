/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/sendmail_options.h"

#include <errno.h>

#include "check.h"

static int parse(struct sendmail_options *o, const char *const *words)
{
	static char *argv[20];
	struct buf why = BUF_INIT(1000);
	int argc = 0, err;

	argv[argc++] = (char *)"sendmail";
	while (*words)
		argv[argc++] = (char *)*words++;
	argv[argc] = NULL;
	err = sendmail_parse(argc, argv, o, &why);
	CHECK((err != 0) == (why.len > 0));
	buf_done(&why);
	return err;
}

#define PARSE(o, ...) parse(o, (const char *const[]){__VA_ARGS__, NULL})

TEST(modes_are_recognized)
{
	struct sendmail_options o;

	CHECK_INT(PARSE(&o, "-bp"), 0);
	CHECK_INT(o.mode, SENDMAIL_MAILQ);
	CHECK_INT(PARSE(&o, "-bi"), 0);
	CHECK_INT(o.mode, SENDMAIL_ALIASES);
	CHECK_INT(PARSE(&o, "-q"), 0);
	CHECK_INT(o.mode, SENDMAIL_FLUSH);
	CHECK_INT(PARSE(&o, "-q30m"), 0);
	CHECK_INT(o.mode, SENDMAIL_NOTHING);
	CHECK_INT(PARSE(&o, "-qIabc"), 0);
	CHECK_INT(o.mode, SENDMAIL_FLUSH_ID);
	CHECK_STR(str_of(o.flush), STR("abc"));
	CHECK_INT(PARSE(&o, "-qRexample.com"), 0);
	CHECK_INT(o.mode, SENDMAIL_FLUSH_SITE);
	CHECK_INT(PARSE(&o, "-bz"), -EINVAL);
	CHECK_INT(PARSE(&o, "-bv"), -EINVAL);
	CHECK_INT(PARSE(&o, "-qI"), -EINVAL);
}

TEST(the_usual_line_of_a_cron_daemon_is_understood)
{
	struct sendmail_options o;

	CHECK_INT(PARSE(&o, "-FCronDaemon", "-i", "-odi", "-oem", "-oi", "-t", "-f", "root"), 0);
	CHECK_INT(o.mode, SENDMAIL_SEND);
	CHECK_STR(str_of(o.full_name), STR("CronDaemon"));
	CHECK_STR(str_of(o.sender), STR("root"));
	CHECK(o.keeps_dots && o.takes_from_header && !o.recipients[0]);
}

TEST(delivery_status_options_are_checked)
{
	struct sendmail_options o;

	CHECK_INT(PARSE(&o, "-N", "success,Delay", "-R", "HDRS", "-V", "x1", "-B8BITMIME", "a@b", "c"), 0);
	CHECK_INT(o.notify, NOTIFY_SUCCESS | NOTIFY_DELAY);
	CHECK_INT(o.ret, RET_HDRS);
	CHECK(o.is_8bit);
	CHECK_STR(str_of(o.recipients[1]), STR("c"));
	CHECK_INT(PARSE(&o, "-N", "never,success", "a"), -EINVAL);
	CHECK_INT(PARSE(&o, "-N", "often", "a"), -EINVAL);
	CHECK_INT(PARSE(&o, "-R", "some", "a"), -EINVAL);
	CHECK_INT(PARSE(&o, "-B", "9BIT", "a"), -EINVAL);
}

TEST(options_of_other_sendmails_are_passed_over)
{
	struct sendmail_options o;

	CHECK_INT(PARSE(&o, "-Am", "-U", "-n", "-m", "-h", "5", "-L", "tag", "-O", "x=y", "-O", "smtputf8=yes", "-e", "m", "who"),
	          0);
	CHECK(o.is_utf8);
	CHECK_STR(str_of(o.recipients[0]), STR("who"));
	CHECK_INT(PARSE(&o, "-Z"), -EINVAL);
}
