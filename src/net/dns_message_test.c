/* SPDX-License-Identifier: Apache-2.0 */
/* Questions and answers as bytes. */
#include "net/dns_message.h"

#include <errno.h>

#include "check.h"

enum { ID = 0x1234 };

#define NAME "\2mx\7example\3org\0"
#define HEAD(flags, answers, authorities) "\x12\x34" flags "\0\1\0" answers "\0" authorities "\0\0"
/* Records of the question's own name, of which a pointer tells. */
#define OWN "\300\14"
#define REST(type, ttl, size) "\0" type "\0\1\0\0\0" ttl "\0" size

static const struct {
	const char *name;
	enum dns_type type;
	const char *message;
	size_t size;
	int err;
	const char *want; /* "status secure ttl canonical: records" */
} cases[] = {
#define MESSAGE(text) text, sizeof(text) - 1
	{"a signed address", DNS_A,
         MESSAGE(HEAD("\x81\xa0", "\1", "\0") NAME "\0\1\0\1" OWN REST("\1", "\x3c", "\4") "\x7f\0\0\2"), 0,
         "0 1 60 mx.example.org: 7f000002"},
	{"an unsigned one", DNS_A,
         MESSAGE(HEAD("\x81\x80", "\1", "\0") NAME "\0\1\0\1" OWN REST("\1", "\x3c", "\4") "\x7f\0\0\2"), 0,
         "0 0 60 mx.example.org: 7f000002"},
	{"MX in any order, compressed", DNS_MX,
         MESSAGE(HEAD("\x81\xa0", "\2", "\0") NAME
                 "\0\17\0\1" OWN REST("\17", "\x3c", "\7") "\0\12\2Aa\300\17" OWN REST("\17", "\x1e", "\4") "\0\5\300\14"),
         0, "0 1 30 mx.example.org: 10/aa.example.org 5/mx.example.org"},
	{"an alias", DNS_A,
         MESSAGE(HEAD("\x81\xa0", "\2", "\0") NAME
                 "\0\1\0\1" OWN REST("\5", "\x0a", "\4") "\1a\300\17"
                                                         "\1a\300\17" REST("\1", "\x3c", "\4") "\x7f\0\0\3"),
         0, "0 1 10 a.example.org: 7f000003"},
	{"an alias of nothing", DNS_A,
         MESSAGE(HEAD("\x81\xa3", "\1", "\0") NAME "\0\1\0\1" OWN REST("\5", "\x0a", "\4") "\1a\300\17"), 0,
         "2 1 0 a.example.org:"},
	{"an alias of itself", DNS_A, MESSAGE(HEAD("\x81\xa0", "\1", "\0") NAME "\0\1\0\1" OWN REST("\5", "\x0a", "\2") OWN), 0,
         "1 1 0 mx.example.org:"},
	{"the alias itself", DNS_CNAME,
         MESSAGE(HEAD("\x81\xa0", "\1", "\0") NAME "\0\5\0\1" OWN REST("\5", "\x0a", "\4") "\1a\300\17"), 0,
         "0 1 10 mx.example.org: 0/a.example.org"},
	{"no such name", DNS_A, MESSAGE(HEAD("\x81\xa3", "\0", "\1") NAME "\0\1\0\1\300\17" REST("\6", "\x1e", "\4") "\0\0\0\0"),
         0, "2 1 30 mx.example.org:"},
	{"no such record", DNS_A, MESSAGE(HEAD("\x81\x80", "\0", "\0") NAME "\0\1\0\1"), 0, "1 0 0 mx.example.org:"},
	{"a failure", DNS_A, MESSAGE(HEAD("\x81\xa2", "\0", "\0") NAME "\0\1\0\1"), 0, "3 0 0 mx.example.org:"},
	{"refused", DNS_A, MESSAGE(HEAD("\x81\x85", "\0", "\0") NAME "\0\1\0\1"), 0, "5 0 0 mx.example.org:"},
	{"somebody else's name beside ours", DNS_A,
         MESSAGE(HEAD("\x81\xa0", "\1", "\0") NAME "\0\1\0\1\300\17" REST("\1", "\x3c", "\4") "\x7f\0\0\2"), 0,
         "1 1 0 mx.example.org:"},
	{"upper case comes back", DNS_A,
         MESSAGE(HEAD("\x81\xa0", "\1", "\0") "\2MX\7eXample\3ORG\0"
                                              "\0\1\0\1" OWN REST("\1", "\x3c", "\4") "\x7f\0\0\2"),
         0, "0 1 60 mx.example.org: 7f000002"},
	{"cut off", DNS_A, MESSAGE(HEAD("\x83\xa0", "\0", "\0") NAME "\0\1\0\1"), -EMSGSIZE, ""},
	{"a question", DNS_A, MESSAGE(HEAD("\x01\xa0", "\0", "\0") NAME "\0\1\0\1"), -EBADMSG, ""},
	{"another id", DNS_A, MESSAGE("\x12\x35\x81\xa0\0\1\0\0\0\0\0\0" NAME "\0\1\0\1"), -EBADMSG, ""},
	{"another name", DNS_A,
         MESSAGE(HEAD("\x81\xa0", "\0", "\0") "\2my\7example\3org\0"
                                              "\0\1\0\1"),
         -EBADMSG, ""},
	{"another type", DNS_A, MESSAGE(HEAD("\x81\xa0", "\0", "\0") NAME "\0\17\0\1"), -EBADMSG, ""},
	{"no question", DNS_A, MESSAGE("\x12\x34\x81\xa0\0\0\0\0\0\0\0\0"), -EBADMSG, ""},
	{"records that are not there", DNS_A,
         MESSAGE(HEAD("\x81\xa0", "\2", "\0") NAME "\0\1\0\1" OWN REST("\1", "\x3c", "\4") "\x7f\0\0\2"), -EBADMSG, ""},
	{"a pointer to itself", DNS_A,
         MESSAGE(HEAD("\x81\xa0", "\1", "\0") NAME "\0\1\0\1\300\40" REST("\1", "\x3c", "\4") "\x7f\0\0\2"), -EBADMSG, ""},
	{"a pointer ahead", DNS_A,
         MESSAGE(HEAD("\x81\xa0", "\1", "\0") NAME "\0\1\0\1\300\60" REST("\1", "\x3c", "\4") "\x7f\0\0\2"), -EBADMSG, ""},
	{"an address that is too long", DNS_A,
         MESSAGE(HEAD("\x81\xa0", "\1", "\0") NAME "\0\1\0\1" OWN REST("\1", "\x3c", "\5") "\x7f\0\0\2\0"), 0,
         "5 1 60 mx.example.org:"},
	{"an empty message", DNS_A, MESSAGE(""), -EBADMSG, ""},
};

static void format(struct buf *to, const struct dns_answer *answer)
{
	buf_addf(to, "%d %d %u %.*s:", (int)answer->status, answer->is_secure, answer->ttl, STR_ARG(answer->canonical));
	for (size_t i = 0; i < answer->count; i++) {
		const struct dns_record *r = &answer->records[i];

		buf_addf(to, " ");
		if (r->name.len)
			buf_addf(to, "%u/%.*s", r->preference, STR_ARG(r->name));
		for (size_t k = 0; k < r->data.len; k++)
			buf_addf(to, "%02x", (unsigned char)r->data.ptr[k]);
	}
}

TEST(answers_are_read_and_what_is_none_is_refused)
{
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct arena a = ARENA_INIT;
		struct buf got = BUF_INIT(1000);
		struct dns_answer answer;
		int err = dns_answer_read(str_n(cases[i].message, cases[i].size), STR("mx.example.org"), cases[i].type, ID, &a,
		                          &answer);

		CHECK_CASE(err == cases[i].err, cases[i].name);
		if (!err)
			format(&got, &answer);
		CHECK_CASE(str_eq(buf_str(&got), str_of(cases[i].want)), cases[i].name);
		CHECK_STR(buf_str(&got), str_of(cases[i].want));
		buf_done(&got);
		arena_done(&a);
	}
}

TEST(a_question_asks_for_the_ad_bit)
{
	static const char want[] = "\x12\x34\1\x20\0\1\0\0\0\0\0\1" NAME "\0\64\0\1\0\0\51\4\xd0\0\0\0\0\0\0";
	char got[DNS_QUESTION_MAX], label[70];
	size_t size = dns_question_make(STR("mx.example.org"), DNS_TLSA, ID, got);

	CHECK_STR(str_n(got, size), str_n(want, sizeof(want) - 1));
	memset(label, 'a', sizeof(label));
	CHECK_INT(dns_question_make(str_n(label, 64), DNS_A, ID, got), 0);
}
