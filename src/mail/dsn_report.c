/* SPDX-License-Identifier: Apache-2.0 */
/* Writing of delivery status reports: see dsn_report.h. */
#include "mail/dsn_report.h"

#include <inttypes.h>

#include "mail/address.h"
#include "mail/mail_date.h"

enum { FOLD_AT = 78 };

/* Of the third part. */
static const char *const descriptions[REPORT_KIND_COUNT] = {
	[REPORT_FAILURE] = "Undelivered Message",
	[REPORT_DELAY] = "Delayed Message",
	[REPORT_SUCCESS] = "Message",
	[REPORT_VERIFY] = "Message",
};

struct str content_header(struct str content)
{
	size_t at = 0;

	while (at < content.len) {
		struct str rest = str_from(content, at);
		size_t line = str_find(rest, '\n');

		if (line == 0 || (line == 1 && rest.ptr[0] == '\r'))
			return str_cut(content, 0, at);
		at += line + (line < rest.len);
	}
	return content;
}

static struct str report_content(const struct report *r)
{
	return r->is_header_only || r->is_postmaster_copy || r->kind != REPORT_FAILURE ? content_header(r->content) : r->content;
}

bool report_is_8bit(const struct report *r)
{
	bool is_8bit = str_is_8bit(report_content(r)) || str_is_8bit(r->sender) || str_is_8bit(r->to) || str_is_8bit(r->envid) ||
	               (!r->is_postmaster_copy && str_is_8bit(r->text));

	for (size_t i = 0; i < r->recipient_count && !is_8bit; i++) {
		const struct report_recipient *rcpt = &r->recipients[i];

		is_8bit = str_is_8bit(rcpt->address) || str_is_8bit(rcpt->original) || str_is_8bit(rcpt->orcpt) ||
		          str_is_8bit(rcpt->text) || str_is_8bit(rcpt->diagnostic);
	}
	return is_8bit;
}

/* Text from outside on one line: what would break the line or the terminal becomes a question mark. */
static void add_clean(struct buf *to, struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (c == '\n' || c == '\t')
			c = ' ';
		else if (c == '\r')
			continue;
		buf_add_char(to, (unsigned char)c < ' ' || c == 127 ? '?' : c);
	}
}

static void add_address(struct buf *to, struct str address)
{
	struct buf external = BUF_INIT(2 * address.len + 16);

	address_format(&external, address);
	add_clean(to, buf_str(&external));
	buf_done(&external);
}

/* $mail_name as a part of a field name: letters, digits and hyphens. */
static void add_mail_name(struct buf *to, struct str name)
{
	for (size_t i = 0; i < name.len; i++)
		buf_add_char(to, ascii_is_alnum(name.ptr[i]) ? name.ptr[i] : '-');
}

/* Breaks the line that starts at `start` between words, with an indent for all but its first piece. */
static void fold(struct buf *to, size_t start)
{
	struct buf line = BUF_INIT(to->max);
	struct str rest;
	size_t column = 0;
	struct str word;

	buf_add(&line, str_from(buf_str(to), start));
	rest = buf_str(&line);
	buf_cut(to, start);
	while (str_next(&rest, " ", &word)) {
		if (column && column + 1 + word.len > FOLD_AT) {
			buf_add(to, STR("\r\n    "));
			column = 4;
		} else if (column) {
			buf_add_char(to, ' ');
			column++;
		}
		buf_add(to, word);
		column += word.len;
	}
	buf_add(to, STR("\r\n"));
	buf_done(&line);
}

static void add_address_field(struct buf *to, const char *name, struct str address)
{
	buf_addf(to, "%s: %s; ", name, str_is_8bit(address) ? "utf-8" : "rfc822");
	add_address(to, address);
	buf_add(to, STR("\r\n"));
}

static void add_date_field(struct buf *to, const char *name, struct wall_time at)
{
	buf_addf(to, "%s: ", name);
	mail_date_format(to, at);
	buf_add(to, STR("\r\n"));
}

static void add_boundary(struct buf *to, const struct report *r)
{
	buf_addf(to, "%.*s.%" PRId64 "/%.*s", STR_ARG(r->queue_id), r->now.us / 1000000, STR_ARG(r->hostname));
}

static void begin_part(struct buf *to, const struct report *r, const char *description, const char *type)
{
	buf_add(to, STR("--"));
	add_boundary(to, r);
	buf_addf(to, "\r\nContent-Description: %s\r\nContent-Type: %s\r\n", description, type);
	if (report_is_8bit(r))
		buf_add(to, STR("Content-Transfer-Encoding: 8bit\r\n"));
	buf_add(to, STR("\r\n"));
}

/* "name <local>" is completed here; who writes another form writes the whole address. */
static void add_from(struct buf *to, const struct report *r)
{
	bool is_local = str_ends(r->from, STR(">")) && !str_has(r->from, '@');
	struct str from = is_local ? str_cut(r->from, 0, r->from.len - 1) : r->from;

	buf_addf(to, "From: %.*s", STR_ARG(from));
	if (is_local)
		buf_addf(to, "@%.*s>", STR_ARG(r->origin));
	buf_add(to, STR("\r\n"));
}

static void add_header(struct buf *to, const struct report *r)
{
	add_date_field(to, "Date", r->now);
	add_from(to, r);
	buf_addf(to, "Subject: %.*s\r\n", STR_ARG(r->subject));
	buf_add(to, STR("To: "));
	add_address(to, r->to);
	buf_add(to, STR("\r\n"));
	if (r->is_threaded && r->message_id.len) {
		buf_add(to, STR("References: "));
		add_clean(to, r->message_id);
		buf_add(to, STR("\r\nIn-Reply-To: "));
		add_clean(to, r->message_id);
		buf_add(to, STR("\r\n"));
	}
	buf_addf(to, "Auto-Submitted: %s\r\nMIME-Version: 1.0\r\n", r->is_postmaster_copy ? "auto-generated" : "auto-replied");
	buf_add(to, STR("Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\""));
	add_boundary(to, r);
	buf_add(to, STR("\"\r\n"));
	if (report_is_8bit(r))
		buf_add(to, STR("Content-Transfer-Encoding: 8bit\r\n"));
	buf_add(to, STR("\r\nThis is a MIME-encapsulated message.\r\n\r\n"));
}

/* With CRLF. */
static void add_lines(struct buf *to, struct str text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '\n' && (i == 0 || text.ptr[i - 1] != '\r'))
			buf_add_char(to, '\r');
		buf_add_char(to, text.ptr[i]);
	}
}

static void add_notice(struct buf *to, const struct report *r)
{
	char type[128];
	bool is_ascii = str_is_empty(r->charset) || str_eq_nocase(r->charset, STR("us-ascii"));
	struct str charset = !is_ascii ? r->charset : report_is_8bit(r) ? STR("utf-8") : STR("us-ascii");

	snprintf(type, sizeof type, "text/plain; charset=%.*s", STR_ARG(str_cut(charset, 0, 80)));
	begin_part(to, r, "Notification", type);
	if (!r->is_postmaster_copy) {
		add_lines(to, r->text);
		buf_add(to, STR("\r\n"));
	}
	for (size_t i = 0; i < r->recipient_count; i++) {
		const struct report_recipient *rcpt = &r->recipients[i];
		size_t start = to->len;

		buf_add_char(to, '<');
		add_address(to, rcpt->address);
		buf_add_char(to, '>');
		if (rcpt->original.len && !str_eq_nocase(rcpt->original, rcpt->address)) {
			buf_add(to, STR(" (expanded from <"));
			add_address(to, rcpt->original);
			buf_add(to, STR(">)"));
		}
		buf_add(to, STR(": "));
		add_clean(to, rcpt->text);
		fold(to, start);
		buf_add(to, STR("\r\n"));
	}
}

static void add_recipient_status(struct buf *to, const struct report *r, const struct report_recipient *rcpt)
{
	size_t start;

	add_address_field(to, "Final-Recipient", rcpt->address);
	if (rcpt->orcpt.len) {
		buf_add(to, STR("Original-Recipient: "));
		add_clean(to, rcpt->orcpt);
		buf_add(to, STR("\r\n"));
	} else if (rcpt->original.len) {
		add_address_field(to, "Original-Recipient", rcpt->original);
	}
	buf_addf(to, "Action: %.*s\r\nStatus: %.*s\r\n", STR_ARG(rcpt->action), STR_ARG(rcpt->dsn));
	if (rcpt->mta.len) {
		buf_add(to, STR("Remote-MTA: dns; "));
		add_clean(to, rcpt->mta);
		buf_add(to, STR("\r\n"));
	}
	start = to->len;
	if (rcpt->diagnostic.len) {
		buf_add(to, STR("Diagnostic-Code: smtp; "));
		add_clean(to, rcpt->diagnostic);
	} else {
		buf_add(to, STR("Diagnostic-Code: X-"));
		add_mail_name(to, r->mail_name);
		buf_add(to, STR("; "));
		add_clean(to, rcpt->text);
	}
	fold(to, start);
	if (r->kind == REPORT_DELAY) {
		add_date_field(to, "Last-Attempt-Date", r->now);
		add_date_field(to, "Will-Retry-Until", r->retry_until);
	}
}

static void add_status(struct buf *to, const struct report *r, bool is_global)
{
	begin_part(to, r, "Delivery report", is_global ? "message/global-delivery-status" : "message/delivery-status");
	buf_addf(to, "Reporting-MTA: dns; %.*s\r\n", STR_ARG(r->hostname));
	if (r->envid.len) {
		buf_add(to, STR("Original-Envelope-Id: "));
		add_clean(to, r->envid);
		buf_add(to, STR("\r\n"));
	}
	buf_add(to, STR("X-"));
	add_mail_name(to, r->mail_name);
	buf_addf(to, "-Queue-ID: %.*s\r\nX-", STR_ARG(r->queue_id));
	add_mail_name(to, r->mail_name);
	buf_addf(to, "-Sender: %s; ", str_is_8bit(r->sender) ? "utf-8" : "rfc822");
	add_address(to, r->sender);
	buf_add(to, STR("\r\n"));
	add_date_field(to, "Arrival-Date", r->arrival);
	buf_add(to, STR("\r\n"));
	for (size_t i = 0; i < r->recipient_count; i++) {
		add_recipient_status(to, r, &r->recipients[i]);
		buf_add(to, STR("\r\n"));
	}
}

static void add_original(struct buf *to, const struct report *r, bool is_global)
{
	struct str content = report_content(r);
	bool is_whole = content.len == r->content.len && content.ptr == r->content.ptr && !r->is_header_only &&
	                !r->is_postmaster_copy && r->kind == REPORT_FAILURE;
	char description[64];

	snprintf(description, sizeof description, "%s%s", descriptions[r->kind], is_whole ? "" : " Headers");
	if (is_whole)
		begin_part(to, r, description, is_global ? "message/global" : "message/rfc822");
	else
		begin_part(to, r, description, is_global ? "message/global-headers" : "text/rfc822-headers");
	buf_add(to, STR("Return-Path: <"));
	add_address(to, r->sender);
	buf_add(to, STR(">\r\n"));
	buf_add(to, content);
	if (!str_ends(content, STR("\n")))
		buf_add(to, STR("\r\n"));
	buf_add(to, STR("\r\n--"));
	add_boundary(to, r);
	buf_add(to, STR("--\r\n"));
}

void report_format(struct buf *to, const struct report *r)
{
	bool is_global = r->is_utf8 && report_is_8bit(r);

	add_header(to, r);
	add_notice(to, r);
	add_status(to, r, is_global);
	add_original(to, r, is_global);
}
