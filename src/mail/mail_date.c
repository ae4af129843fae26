/* SPDX-License-Identifier: Apache-2.0 */
#include "mail/mail_date.h"

#include <stdlib.h>

/* Names as the RFC has them, whatever the locale. */
static const char day_names[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char month_names[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

void mail_date_format(struct buf *to, struct wall_time when)
{
	time_t seconds = (time_t)(when.us / 1000000);
	struct tm tm;
	int minutes;

	if (!localtime_r(&seconds, &tm))
		return;
	minutes = abs((int)(tm.tm_gmtoff / 60));
	buf_addf(to, "%s, %02d %s %d %02d:%02d:%02d %c%02d%02d", day_names[tm.tm_wday], tm.tm_mday, month_names[tm.tm_mon],
	         1900 + tm.tm_year, tm.tm_hour, tm.tm_min, tm.tm_sec, tm.tm_gmtoff < 0 ? '-' : '+', minutes / 60, minutes % 60);
	if (tm.tm_zone && tm.tm_zone[0])
		buf_addf(to, " (%s)", tm.tm_zone);
}

void mail_date_digits(struct buf *to, struct wall_time when)
{
	time_t seconds = (time_t)(when.us / 1000000);
	struct tm tm;

	if (gmtime_r(&seconds, &tm))
		buf_addf(to, "%04d%02d%02d%02d%02d%02d", 1900 + tm.tm_year, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
		         tm.tm_sec);
}
