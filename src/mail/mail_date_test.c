/* SPDX-License-Identifier: Apache-2.0 */
#include "mail/mail_date.h"

#include <stdlib.h>

#include "check.h"

static void in_zone(const char *zone, int64_t seconds, const char *want)
{
	struct buf b = BUF_INIT(100);

	setenv("TZ", zone, 1);
	tzset();
	mail_date_format(&b, (struct wall_time){seconds * 1000000});
	CHECK_STR(buf_str(&b), str_of(want));
	buf_done(&b);
}

TEST(dates_are_local_with_offset_and_zone)
{
	in_zone("UTC0", 1700000000, "Tue, 14 Nov 2023 22:13:20 +0000 (UTC)");
	in_zone("XST-5:30", 1700000000, "Wed, 15 Nov 2023 03:43:20 +0530 (XST)");
	in_zone("YST3:30", 0, "Wed, 31 Dec 1969 20:30:00 -0330 (YST)");
}

TEST(digits_are_in_utc)
{
	struct buf b = BUF_INIT(100);

	mail_date_digits(&b, (struct wall_time){1700000000000000});
	CHECK_STR(buf_str(&b), STR("20231114221320"));
	buf_done(&b);
}
