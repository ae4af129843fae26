/* SPDX-License-Identifier: Apache-2.0 */
#include "mail/delivery_line.h"

#include "mail/address.h"

void delay_format(struct buf *to, int64_t us, int digits)
{
	int64_t unit = 1;
	int decimals = 6;
	int64_t fraction;

	if (us < 0)
		us = 0;
	if (us >= 10000000)
		digits = 0;
	else if (us >= 1000000)
		digits = digits < 1 ? digits : 1;
	for (; decimals > digits; decimals--)
		unit *= 10;
	us = (us + unit / 2) / unit * unit;
	buf_addf(to, "%lld", (long long)(us / 1000000));
	fraction = us % 1000000 / unit;
	if (!fraction)
		return;
	for (; fraction % 10 == 0; fraction /= 10)
		decimals--;
	buf_addf(to, ".%0*lld", decimals, (long long)fraction);
}

static void add_clean(struct buf *to, struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		buf_add_char(to, s.ptr[i] == '\n' ? ' ' : (unsigned char)s.ptr[i] < ' ' || s.ptr[i] == 127 ? '?' : s.ptr[i]);
}

static void add_delays(struct buf *to, const struct delivery_line *l)
{
	struct wall_time started = l->started.us ? l->started : l->ended;
	struct wall_time connected = l->connected.us ? l->connected : l->ended;

	buf_add(to, STR(", delay="));
	delay_format(to, l->ended.us - l->arrival.us, l->digits);
	buf_add(to, STR(", delays="));
	delay_format(to, l->active.us - l->arrival.us, l->digits);
	buf_add_char(to, '/');
	delay_format(to, started.us - l->active.us, l->digits);
	buf_add_char(to, '/');
	delay_format(to, connected.us - started.us, l->digits);
	buf_add_char(to, '/');
	delay_format(to, l->ended.us - connected.us, l->digits);
}

void delivery_line_format(struct buf *to, const struct delivery_line *l)
{
	struct buf address = BUF_INIT(2048);

	buf_add(to, l->queue_id);
	buf_add(to, STR(": to=<"));
	address_format(&address, l->address);
	add_clean(to, buf_str(&address));
	if (l->original.len && !str_eq_nocase(l->original, l->address)) {
		buf_reset(&address);
		address_format(&address, l->original);
		buf_add(to, STR(">, orig_to=<"));
		add_clean(to, buf_str(&address));
	}
	buf_add(to, STR(">, relay="));
	add_clean(to, l->relay);
	if (l->conn_use >= 2)
		buf_addf(to, ", conn_use=%u", l->conn_use);
	add_delays(to, l);
	if (l->tls.len) {
		buf_add(to, STR(", tls="));
		buf_add(to, l->tls);
	}
	buf_addf(to, ", dsn=%.*s, status=%.*s (", STR_ARG(l->dsn), STR_ARG(l->status));
	add_clean(to, l->text);
	buf_add_char(to, ')');
	buf_done(&address);
}
