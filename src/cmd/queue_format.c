/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/queue_format.h"

#include <time.h>

#include "base/utf8.h"
#include "mail/address.h"

enum { RECIPIENT_COLUMN = 47, REASON_WIDTH = 76 };

void queue_format_init(struct queue_format *f, bool is_json, struct buf *to)
{
	*f = (struct queue_format){.is_json = is_json, .to = to, .reason = BUF_INIT(65536)};
}

void queue_format_done(struct queue_format *f)
{
	buf_done(&f->reason);
}

/* --- for people --------------------------------------------------------------------------- */

static void add_clean(struct buf *to, struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		buf_add_char(to, (unsigned char)s.ptr[i] < ' ' || s.ptr[i] == 127 ? '?' : s.ptr[i]);
}

static void add_address(struct buf *to, struct str address)
{
	struct buf external = BUF_INIT(4096);

	if (str_is_empty(address))
		buf_add(&external, STR("MAILER-DAEMON"));
	else
		address_format(&external, address);
	add_clean(to, buf_str(&external));
	buf_done(&external);
}

static char status_of(const struct message_queue_item *item)
{
	if (item->is_expired)
		return '#';
	return str_eq(item->queue, STR("active")) ? '*' : str_eq(item->queue, STR("hold")) ? '!' : ' ';
}

static void text_item(struct queue_format *f, const struct message_queue_item *item)
{
	time_t arrival = (time_t)(item->arrival / 1000000);
	char id[64], date[40];
	struct tm tm;

	if (!f->messages)
		buf_add(f->to, STR("----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------\n"));
	else
		buf_add_char(f->to, '\n');
	localtime_r(&arrival, &tm);
	strftime(date, sizeof date, "%a %b %e %H:%M:%S", &tm);
	snprintf(id, sizeof id, "%.*s%c", (int)size_min(item->queue_id.len, 40), item->queue_id.ptr ? item->queue_id.ptr : "",
	         status_of(item));
	buf_addf(f->to, "%-17s %8llu %19.19s ", id, (unsigned long long)item->size, date);
	add_address(f->to, item->sender);
	buf_add_char(f->to, '\n');
	buf_reset(&f->reason);
}

static void text_recipient(struct queue_format *f, const struct message_queue_recipient *r)
{
	if (r->reason.len && !str_eq(r->reason, buf_str(&f->reason))) {
		buf_addf(f->to, "%*s(", r->reason.len < REASON_WIDTH ? (int)(REASON_WIDTH - r->reason.len) : 0, "");
		add_clean(f->to, r->reason);
		buf_add(f->to, STR(")\n"));
		buf_reset(&f->reason);
		buf_add(&f->reason, r->reason);
	}
	buf_addf(f->to, "%*s", RECIPIENT_COLUMN, "");
	add_address(f->to, r->address);
	buf_add_char(f->to, '\n');
}

static void text_end(struct queue_format *f)
{
	if (!f->messages)
		buf_add(f->to, STR("Mail queue is empty\n"));
	else
		buf_addf(f->to, "\n-- %llu Kbytes in %llu Request%s.\n", (unsigned long long)(f->bytes / 1024),
		         (unsigned long long)f->messages, f->messages == 1 ? "" : "s");
}

/* --- for programs ---------------------------------------------------------------------------- */

static void json_string(struct buf *to, struct str s)
{
	bool is_utf8 = utf8_is_valid(s);

	buf_add_char(to, '"');
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (c == '"' || c == '\\')
			buf_addf(to, "\\%c", c);
		else if (c < ' ' || c == 127)
			buf_addf(to, "\\u%04x", c);
		else if (c > 127 && !is_utf8)
			buf_add_char(to, '?');
		else
			buf_add_char(to, (char)c);
	}
	buf_add_char(to, '"');
}

static void json_address(struct buf *to, struct str address)
{
	struct buf external = BUF_INIT(4096);

	if (str_is_empty(address))
		buf_add(&external, STR("MAILER-DAEMON"));
	else
		address_format(&external, address);
	json_string(to, buf_str(&external));
	buf_done(&external);
}

static void json_close(struct queue_format *f)
{
	if (f->has_open)
		buf_add(f->to, STR("]}\n"));
	f->has_open = false;
}

static void json_item(struct queue_format *f, const struct message_queue_item *item)
{
	json_close(f);
	buf_add(f->to, STR("{\"queue_name\": "));
	json_string(f->to, item->queue);
	buf_add(f->to, STR(", \"queue_id\": "));
	json_string(f->to, item->queue_id);
	buf_addf(f->to, ", \"arrival_time\": %llu, \"message_size\": %llu, \"forced_expire\": %s, \"sender\": ",
	         (unsigned long long)(item->arrival / 1000000), (unsigned long long)item->size,
	         item->is_expired ? "true" : "false");
	json_address(f->to, item->sender);
	buf_add(f->to, STR(", \"recipients\": ["));
}

static void json_recipient(struct queue_format *f, const struct message_queue_recipient *r)
{
	buf_add(f->to, f->has_recipient ? STR(", {\"address\": ") : STR("{\"address\": "));
	json_address(f->to, r->address);
	if (r->original.len && !str_eq_nocase(r->original, r->address)) {
		buf_add(f->to, STR(", \"orig_address\": "));
		json_address(f->to, r->original);
	}
	if (r->reason.len) {
		buf_add(f->to, STR(", \"delay_reason\": "));
		json_string(f->to, r->reason);
	}
	buf_add_char(f->to, '}');
}

/* --- both ---------------------------------------------------------------------------------------- */

void queue_format_item(struct queue_format *f, const struct message_queue_item *item)
{
	if (f->is_json)
		json_item(f, item);
	else
		text_item(f, item);
	f->has_open = true;
	f->has_recipient = false;
	f->messages++;
	f->bytes += item->size;
}

void queue_format_recipient(struct queue_format *f, const struct message_queue_recipient *r)
{
	if (!f->has_open)
		return;
	if (f->is_json)
		json_recipient(f, r);
	else
		text_recipient(f, r);
	f->has_recipient = true;
}

void queue_format_end(struct queue_format *f)
{
	if (f->is_json)
		json_close(f);
	else
		text_end(f);
}
