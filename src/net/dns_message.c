/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions and answers as bytes. Names in answers may point back into the message (RFC 1035, 4.1.4); every pointer must
 * lead further back than the one before, so they come to an end.
 */
#include "net/dns_message.h"

#include <errno.h>

#include "net/dns_internal.h"

enum {
	HEAD_SIZE = 12,
	LABEL_MAX = 63,
	NAME_WIRE_MAX = 255,
	RECORDS_MAX = 256,
	CHAIN_MAX = 12,
	UDP_SIZE = 1232,
	TYPE_SOA = 6,
	TYPE_OPT = 41,
	CLASS_IN = 1,
	FLAG_QR = 0x80, /* in byte 2 */
	FLAG_TC = 0x02,
	FLAG_RD = 0x01,
	FLAG_AD = 0x20 /* in byte 3 */
};

enum { RCODE_NOERROR = 0, RCODE_SERVFAIL = 2, RCODE_NXDOMAIN = 3 };

static size_t put_u16(char *to, unsigned value)
{
	to[0] = (char)(value >> 8);
	to[1] = (char)value;
	return 2;
}

static size_t put_name(struct str name, char *to)
{
	struct str label;
	size_t at = 0;

	while (str_next(&name, ".", &label)) {
		if (label.len > LABEL_MAX || at + label.len + 2 > NAME_WIRE_MAX)
			return 0;
		to[at++] = (char)label.len;
		memcpy(to + at, label.ptr, label.len);
		at += label.len;
	}
	to[at++] = 0;
	return at;
}

size_t dns_question_make(struct str name, enum dns_type type, uint16_t id, char to[static DNS_QUESTION_MAX])
{
	size_t at = HEAD_SIZE, size;

	memset(to, 0, HEAD_SIZE);
	put_u16(to, id);
	to[2] = FLAG_RD;
	to[3] = FLAG_AD;
	to[5] = 1;  /* questions */
	to[11] = 1; /* additional records */
	size = put_name(name, to + at);
	if (!size)
		return 0;
	at += size;
	at += put_u16(to + at, type);
	at += put_u16(to + at, CLASS_IN);
	to[at++] = 0;
	at += put_u16(to + at, TYPE_OPT);
	at += put_u16(to + at, UDP_SIZE);
	memset(to + at, 0, 6);
	return at + 6;
}

/* --- reading --- */

struct reader {
	struct str message;
	size_t at;
	bool is_bad;
};

static unsigned get_u8(struct reader *r)
{
	if (r->at >= r->message.len) {
		r->is_bad = true;
		return 0;
	}
	return (unsigned char)r->message.ptr[r->at++];
}

static unsigned get_u16(struct reader *r)
{
	unsigned high = get_u8(r);

	return high << 8 | get_u8(r);
}

static uint32_t get_u32(struct reader *r)
{
	uint32_t high = get_u16(r);

	return high << 16 | get_u16(r);
}

/* The name at the reader's place in wire form without pointers; the reader moves behind it. */
static size_t get_name(struct reader *r, char to[static NAME_WIRE_MAX])
{
	struct reader far = *r;
	size_t len = 0, limit = r->at;
	bool has_jumped = false;

	for (;;) {
		unsigned size = get_u8(&far);

		if ((size & 0xc0) == 0xc0) {
			size_t target = (size & 0x3f) << 8 | get_u8(&far);

			if (!has_jumped)
				r->at = far.at;
			has_jumped = true;
			if (far.is_bad || target >= limit)
				break;
			far.at = limit = target;
			continue;
		}
		if (far.is_bad || size > LABEL_MAX || len + size + 1 > NAME_WIRE_MAX || size > far.message.len - far.at)
			break;
		to[len++] = (char)size;
		memcpy(to + len, far.message.ptr + far.at, size);
		len += size;
		far.at += size;
		if (size)
			continue;
		if (!has_jumped)
			r->at = far.at;
		return len;
	}
	r->is_bad = true;
	return 0;
}

struct record {
	struct str owner; /* in wire form */
	unsigned type;
	unsigned class;
	uint32_t ttl;
	size_t data_at;
	size_t data_size;
};

static int get_record(struct reader *r, struct arena *a, struct record *ret_record)
{
	char name[NAME_WIRE_MAX];
	size_t len = get_name(r, name);

	*ret_record = (struct record){.owner = arena_str(a, str_n(name, len))};
	ret_record->type = get_u16(r);
	ret_record->class = get_u16(r);
	ret_record->ttl = get_u32(r);
	ret_record->data_size = get_u16(r);
	ret_record->data_at = r->at;
	if (r->is_bad || ret_record->data_size > r->message.len - r->at)
		return -EBADMSG;
	r->at += ret_record->data_size;
	return 0;
}

/* The data of a record as it would be without compression. */
static int get_data(struct str message, const struct record *record, struct buf *to)
{
	struct reader r = {.message = str_cut(message, 0, record->data_at + record->data_size), .at = record->data_at};
	char name[NAME_WIRE_MAX];
	size_t fixed = record->type == DNS_MX ? 2 : record->type == DNS_SRV ? 6 : 0;
	bool has_name = fixed || record->type == DNS_NS || record->type == DNS_CNAME || record->type == DNS_PTR;

	buf_reset(to);
	if (!has_name)
		fixed = record->data_size;
	if (fixed > record->data_size)
		return -EBADMSG;
	buf_add(to, str_cut(message, r.at, fixed));
	r.at += fixed;
	if (has_name) {
		size_t len = get_name(&r, name);

		buf_add_bytes(to, name, len);
	}
	return r.is_bad || r.at != r.message.len ? -EBADMSG : buf_check(to);
}

/* --- an answer --- */

struct reading {
	struct str message;
	enum dns_type type;
	struct arena *arena;
	struct record *records; /* of the answer section */
	size_t count;
	struct str owner; /* in wire form; moves along CNAMEs */
	struct dns_answer *answer;
};

static void lower_ttl(struct reading *in, uint32_t ttl)
{
	if (ttl < in->answer->ttl)
		in->answer->ttl = ttl;
}

static const struct record *find_alias(const struct reading *in)
{
	for (size_t i = 0; i < in->count && in->type != DNS_CNAME; i++)
		if (in->records[i].type == DNS_CNAME && str_eq_nocase(in->records[i].owner, in->owner))
			return &in->records[i];
	return NULL;
}

static int follow_aliases(struct reading *in)
{
	const struct record *alias;
	struct buf data = BUF_INIT(UINT16_MAX);
	int err = 0;

	for (int i = 0; !err && i < CHAIN_MAX && (alias = find_alias(in)); i++) {
		err = get_data(in->message, alias, &data);
		in->owner = arena_str(in->arena, buf_str(&data));
		lower_ttl(in, alias->ttl);
	}
	buf_done(&data);
	return err;
}

static void take_records(struct reading *in)
{
	struct dns_answer *answer = in->answer;
	struct buf data = BUF_INIT(UINT16_MAX);
	bool has_any = false;

	answer->records = arena_alloc(in->arena, (in->count + 1) * sizeof(*answer->records));
	for (size_t i = 0; i < in->count; i++) {
		const struct record *r = &in->records[i];

		if (r->type != (unsigned)in->type || !str_eq_nocase(r->owner, in->owner))
			continue;
		has_any = true;
		lower_ttl(in, r->ttl);
		if (!get_data(in->message, r, &data) &&
		    !dns_wire_record(buf_str(&data), in->type, in->arena, &answer->records[answer->count]))
			answer->count++;
	}
	buf_done(&data);
	if (has_any)
		answer->status = answer->count ? DNS_FOUND : DNS_FAILED;
}

/* How long an absence may be believed: the TTL of the SOA record that comes with it (RFC 2308, 5). */
static void read_absence(struct reading *in, struct reader *r, unsigned count)
{
	struct record record;

	in->answer->ttl = 0;
	for (unsigned i = 0; i < count && !get_record(r, in->arena, &record); i++)
		if (record.type == TYPE_SOA)
			in->answer->ttl = record.ttl;
}

static enum dns_status status_of(unsigned rcode)
{
	switch (rcode) {
	case RCODE_NOERROR:
		return DNS_NO_DATA;
	case RCODE_NXDOMAIN:
		return DNS_NO_NAME;
	case RCODE_SERVFAIL:
		return DNS_TRY_AGAIN;
	default:
		return DNS_FAILED;
	}
}

/* Is it the answer to this question? *r stands behind the question then. */
static bool is_ours(struct reader *r, struct str name, enum dns_type type, uint16_t id, struct str *ret_owner, struct arena *a)
{
	char want[DNS_QUESTION_MAX], got[NAME_WIRE_MAX];
	size_t want_size = put_name(name, want), got_size;
	unsigned flags, counts;

	if (get_u16(r) != id)
		return false;
	flags = get_u8(r);
	r->at = 4;
	counts = get_u16(r);
	r->at = HEAD_SIZE;
	got_size = get_name(r, got);
	*ret_owner = arena_str(a, str_n(got, got_size));
	return flags & FLAG_QR && counts == 1 && str_eq_nocase(str_n(want, want_size), *ret_owner) &&
	       get_u16(r) == (unsigned)type && get_u16(r) == CLASS_IN && !r->is_bad;
}

static int read_sections(struct reading *in, struct reader *r, unsigned answer_count, unsigned authority_count)
{
	int err = 0;

	in->records = arena_alloc(in->arena, (answer_count + 1) * sizeof(*in->records));
	while (!err && in->count < answer_count)
		err = get_record(r, in->arena, &in->records[in->count++]);
	if (!err)
		err = follow_aliases(in);
	if (err)
		return err;
	take_records(in);
	if (!in->answer->count && in->answer->status != DNS_FAILED)
		read_absence(in, r, authority_count);
	/* A name that no host may have keeps the one that was asked for. */
	(void)!dns_wire_name(&in->owner, in->arena, &in->answer->canonical);
	return 0;
}

int dns_answer_read(struct str message, struct str name, enum dns_type type, uint16_t id, struct arena *a,
                    struct dns_answer *ret_answer)
{
	struct reader r = {.message = message};
	struct dns_answer answer = {.ttl = UINT32_MAX, .canonical = name};
	struct reading in = {.message = message, .type = type, .arena = a, .answer = &answer};
	struct reader head = {.message = message, .at = 6};
	unsigned flags, answer_count, authority_count;
	int err = 0;

	if (!is_ours(&r, name, type, id, &in.owner, a))
		return -EBADMSG;
	if (message.ptr[2] & FLAG_TC)
		return -EMSGSIZE;
	flags = (unsigned char)message.ptr[3];
	answer_count = get_u16(&head);
	authority_count = get_u16(&head);
	answer.status = status_of(flags & 0x0f);
	answer.is_secure = flags & FLAG_AD && answer.status <= DNS_NO_NAME;
	if (answer.status == DNS_NO_DATA || answer.status == DNS_NO_NAME)
		err = answer_count > RECORDS_MAX ? -EBADMSG : read_sections(&in, &r, answer_count, authority_count);
	else
		answer.ttl = 0;
	if (!err)
		*ret_answer = answer;
	return err;
}
