/* SPDX-License-Identifier: Apache-2.0 */
#include "mail/queue_id.h"

/* Digits and consonants; the last one, z, parts the time from the tail and so is no digit of the tail. */
static const char digits[] = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz";

enum { TIME_BASE = 52, TAIL_BASE = 51, SECONDS_WIDTH = 6, MICROSECONDS_WIDTH = 4, ID_LEN_LEAST = 5 };

static char *put_number(char *to, uint64_t value, unsigned base, int width)
{
	char reversed[16];
	int count = 0;

	do
		reversed[count++] = digits[value % base];
	while ((value /= base) > 0 && count < (int)sizeof(reversed));
	for (; width > count; width--)
		*to++ = digits[0];
	while (count > 0)
		*to++ = reversed[--count];
	return to;
}

void queue_id_make(struct queue_id_maker *m, struct wall_time now, char ret_id[QUEUE_ID_SIZE])
{
	int64_t us = now.us > m->last_us ? now.us : m->last_us + 1;
	char *at = ret_id;

	m->last_us = us;
	at = put_number(at, (uint64_t)us / 1000000, TIME_BASE, SECONDS_WIDTH);
	at = put_number(at, (uint64_t)us % 1000000, TIME_BASE, MICROSECONDS_WIDTH);
	*at++ = 'z';
	at = put_number(at, m->tail % (UINT64_C(1) << 48), TAIL_BASE, 1);
	*at = '\0';
}

bool queue_id_is_valid(struct str id)
{
	for (size_t i = 0; i < id.len; i++)
		if (!ascii_is_alnum(id.ptr[i]))
			return false;
	return id.len >= ID_LEN_LEAST && id.len < QUEUE_ID_SIZE;
}
