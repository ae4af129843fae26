/* SPDX-License-Identifier: Apache-2.0 */
/* Making TLS reports, as the JSON that they become. */
#include "role/lookup/tls_report.h"

#include <errno.h>
#include <jansson.h>
#include <time.h>
#include <zlib.h>

#include "base/encoding.h"

enum { POLICIES_MAX = 20, DETAILS_MAX = 100, LINES_MAX = 200, TEXT_MAX = 1000, JSON_SIZE_MAX = 4 << 20, LINE_BYTES = 57 };

static const char successes[] = "total-successful-session-count", failures[] = "total-failure-session-count";
static const char failed[] = "failed-session-count";

struct tls_report {
	json_t *policies;
};

struct tls_report *tls_report_new(struct str text)
{
	struct tls_report *r = mem_alloc(sizeof(*r));

	r->policies = text.len ? json_loadb(text.ptr, text.len, 0, NULL) : NULL;
	if (!json_is_array(r->policies)) {
		json_decref(r->policies);
		r->policies = json_array();
	}
	return r;
}

void tls_report_free(struct tls_report *r)
{
	if (!r)
		return;
	json_decref(r->policies);
	free(r);
}

/* What others said may be no UTF-8. */
static json_t *text_new(struct str s)
{
	json_t *j;

	s.len = size_min(s.len, TEXT_MAX);
	j = json_stringn(s.ptr ? s.ptr : "", s.len);
	if (!j) {
		struct buf plain = BUF_INIT(TEXT_MAX);

		for (size_t i = 0; i < s.len; i++)
			buf_add_char(&plain, s.ptr[i] < ' ' || s.ptr[i] > '~' ? '?' : s.ptr[i]);
		j = json_stringn(plain.ptr, plain.len);
		buf_done(&plain);
	}
	return j;
}

static void set_text(json_t *object, const char *name, struct str value)
{
	if (value.len)
		json_object_set_new(object, name, text_new(value));
}

static void set_lines(json_t *object, const char *name, struct str lines)
{
	json_t *array;
	struct str line;

	if (!lines.len)
		return;
	array = json_array();
	while (json_array_size(array) < LINES_MAX && str_next(&lines, "\n", &line))
		json_array_append_new(array, text_new(line));
	json_object_set_new(object, name, array);
}

static void count(json_t *object, const char *name)
{
	json_object_set_new(object, name, json_integer(json_integer_value(json_object_get(object, name)) + 1));
}

static json_t *policy_new(const struct message_tls_outcome *o)
{
	json_t *policy = json_object();

	set_text(policy, "policy-type", o->policy_type);
	set_lines(policy, "policy-string", o->policy_strings);
	set_text(policy, "policy-domain", o->policy_domain);
	set_lines(policy, "mx-host", o->mx_patterns);
	return policy;
}

/* The entry about the policy that this session was held to; NULL when there are too many. */
static json_t *entry_for(struct tls_report *r, const struct message_tls_outcome *o)
{
	json_t *policy = policy_new(o), *entry;
	size_t i;

	json_array_foreach(r->policies, i, entry)
	{
		if (json_equal(json_object_get(entry, "policy"), policy)) {
			json_decref(policy);
			return entry;
		}
	}
	if (json_array_size(r->policies) >= POLICIES_MAX) {
		json_decref(policy);
		return NULL;
	}
	entry = json_pack("{s:o, s:{s:i, s:i}}", "policy", policy, "summary", successes, 0, failures, 0);
	json_array_append_new(r->policies, entry);
	return entry;
}

static bool is_same_detail(json_t *a, json_t *b)
{
	const char *name;
	json_t *value;

	if (json_object_size(a) != json_object_size(b))
		return false;
	json_object_foreach(a, name, value)
	{
		if (strcmp(name, failed) != 0 && !json_equal(value, json_object_get(b, name)))
			return false;
	}
	return true;
}

static void add_detail(json_t *entry, const struct message_tls_outcome *o)
{
	json_t *details = json_object_get(entry, "failure-details"), *detail = json_object(), *other;
	size_t i;

	if (!details) {
		details = json_array();
		json_object_set_new(entry, "failure-details", details);
	}
	set_text(detail, "result-type", o->result);
	set_text(detail, "sending-mta-ip", o->sending_address);
	set_text(detail, "receiving-mx-hostname", o->mx_host);
	set_text(detail, "receiving-mx-helo", o->mx_hello);
	set_text(detail, "receiving-ip", o->mx_address);
	set_text(detail, "failure-reason-code", o->reason);
	json_object_set_new(detail, failed, json_integer(1));
	json_array_foreach(details, i, other)
	{
		if (is_same_detail(detail, other)) {
			count(other, failed);
			json_decref(detail);
			return;
		}
	}
	if (json_array_size(details) < DETAILS_MAX)
		json_array_append(details, detail);
	json_decref(detail);
}

void tls_report_add(struct tls_report *r, const struct message_tls_outcome *o)
{
	json_t *entry = entry_for(r, o);

	if (!entry)
		return;
	count(json_object_get(entry, "summary"), o->result.len ? failures : successes);
	if (o->result.len)
		add_detail(entry, o);
}

static int take_bytes(const char *bytes, size_t size, void *arg)
{
	buf_add_bytes(arg, bytes, size);
	return 0;
}

void tls_report_encode(const struct tls_report *r, struct buf *to)
{
	json_dump_callback(r->policies, take_bytes, to, JSON_COMPACT);
}

/* --- what is sent ---------------------------------------------------------------------------- */

/* "2026-11-22T00:00:00Z" (RFC 3339) */
static json_t *time_new(uint64_t seconds)
{
	time_t when = (time_t)seconds;
	struct tm tm;
	char text[40];

	gmtime_r(&when, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_string(text);
}

static json_t *document_new(const struct tls_report *r, const struct tls_report_frame *f)
{
	json_t *document = json_object(), *range = json_object();

	set_text(document, "organization-name", f->organization);
	json_object_set_new(range, "start-datetime", time_new(f->begins));
	json_object_set_new(range, "end-datetime", time_new(f->ends - 1));
	json_object_set_new(document, "date-range", range);
	set_text(document, "contact-info", f->contact);
	set_text(document, "report-id", f->id);
	json_object_set(document, "policies", r->policies);
	return document;
}

static int compress_text(struct str text, struct buf *to)
{
	/* 16: with the header of gzip. */
	z_stream z = {.next_in = (unsigned char *)text.ptr, .avail_in = (unsigned)text.len};
	int rc = deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
	size_t room = rc ? 0 : deflateBound(&z, text.len);

	if (rc)
		return -ENOMEM;
	z.next_out = (unsigned char *)buf_room(to, room);
	z.avail_out = (unsigned)room;
	rc = z.next_out ? deflate(&z, Z_FINISH) : Z_BUF_ERROR;
	if (rc == Z_STREAM_END)
		buf_added(to, z.total_out);
	deflateEnd(&z);
	return rc == Z_STREAM_END ? 0 : -EMSGSIZE;
}

int tls_report_gzip(const struct tls_report *r, const struct tls_report_frame *f, struct buf *to)
{
	struct buf text = BUF_INIT(JSON_SIZE_MAX);
	json_t *document = document_new(r, f);
	int err;

	json_dump_callback(document, take_bytes, &text, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
	json_decref(document);
	err = buf_check(&text);
	if (!err)
		err = compress_text(buf_str(&text), to);
	buf_done(&text);
	return err;
}

static void add_base64(struct buf *to, struct str bytes)
{
	for (; bytes.len; bytes = str_from(bytes, LINE_BYTES)) {
		base64_encode(to, str_cut(bytes, 0, LINE_BYTES));
		buf_add(to, STR("\r\n"));
	}
}

void tls_report_mail(const struct tls_report_frame *f, struct str to, struct str gzip, struct buf *text)
{
	unsigned long long begins = f->begins, ends = f->ends - 1;

	buf_addf(text, "From: %.*s\r\nTo: %.*s\r\n", STR_ARG(f->from), STR_ARG(to));
	buf_addf(text, "Subject: Report Domain: %.*s Submitter: %.*s Report-ID: <%.*s>\r\n", STR_ARG(f->domain),
	         STR_ARG(f->submitter), STR_ARG(f->id));
	buf_addf(text, "TLS-Report-Domain: %.*s\r\nTLS-Report-Submitter: %.*s\r\n", STR_ARG(f->domain), STR_ARG(f->submitter));
	/* What tells that TLS fails must not fail because of it (RFC 8689, 5). */
	buf_addf(text, "TLS-Required: no\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n");
	buf_addf(text, "Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n boundary=\"%.*s\"\r\n\r\n", STR_ARG(f->id));
	buf_addf(text, "--%.*s\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n", STR_ARG(f->id));
	buf_addf(text, "This is an aggregate TLS report from %.*s about mail to %.*s.\r\n\r\n", STR_ARG(f->submitter),
	         STR_ARG(f->domain));
	buf_addf(text, "--%.*s\r\nContent-Type: application/tlsrpt+gzip\r\nContent-Transfer-Encoding: base64\r\n",
	         STR_ARG(f->id));
	buf_addf(text, "Content-Disposition: attachment;\r\n filename=\"%.*s!%.*s!%llu!%llu!%.*s.json.gz\"\r\n\r\n",
	         STR_ARG(f->submitter), STR_ARG(f->domain), begins, ends, STR_ARG(f->id));
	add_base64(text, gzip);
	buf_addf(text, "\r\n--%.*s--\r\n", STR_ARG(f->id));
}

/* --- where it goes ---------------------------------------------------------------------------- */

bool tls_report_record_is_ours(struct str text)
{
	return str_starts(text, STR("v=TLSRPTv1;")) || str_starts(text, STR("v=TLSRPTv1 "));
}

/* No blanks and controls, nor what would end an address in a header. */
static bool is_place(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] <= ' ' || s.ptr[i] > '~' || memchr("<>\"\\", s.ptr[i], 4))
			return false;
	if (str_starts_nocase(s, STR("mailto:")))
		return str_has(s, '@') && !str_has(s, '?');
	return str_starts_nocase(s, STR("https://")) && s.len > 8;
}

bool tls_report_next_place(struct str *rest, struct str *ret_place)
{
	struct str field;

	/* Fields are parted by ";", places by ","; "rua=" stands before the first of a field. */
	while (str_next(rest, ";,", &field)) {
		field = str_trim(field);
		if (str_starts(field, STR("rua=")))
			field = str_trim(str_from(field, 4));
		if (is_place(field)) {
			*ret_place = field;
			return true;
		}
	}
	return false;
}
