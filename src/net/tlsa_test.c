/* SPDX-License-Identifier: Apache-2.0 */
/* TLSA records: which can be used, and which of them count. */
#include "net/tlsa.h"

#include <errno.h>

#include "check.h"

static const char digest32[] = "0123456789abcdef0123456789abcdef";
static const char digest64[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/* The public key of a P-256 key pair, in DER. */
static const char key[] =
	"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00\x04"
	"\x6b\x17\xd1\xf2\xe1\x2c\x42\x47\xf8\xbc\xe6\xe5\x63\xa4\x40\xf2\x77\x03\x7d\x81\x2d\xeb\x33\xa0"
	"\xf4\xa1\x39\x45\xd8\x98\xc2\x96\x4f\xe3\x42\xe2\xfe\x1a\x7f\x9b\x8e\xe7\xeb\x4a\x7c\x0f\x9e\x16"
	"\x2b\xce\x33\x57\x6b\x31\x5e\xce\xcb\xb6\x40\x68\x37\xbf\x51\xf5";

static struct tlsa_digests digests_of(const char *list)
{
	struct tlsa_digests digests = {0};
	struct buf why = BUF_INIT(1000);

	CHECK_INT(tlsa_digests_parse(str_of(list), &digests, &why), 0);
	CHECK_STR(buf_str(&why), STR(""));
	return digests;
}

TEST(records_are_taken_apart)
{
	static const char rdata[] = "\3\1\1abc";
	struct buf text = BUF_INIT(100);
	struct tlsa r;

	CHECK_INT(tlsa_decode(str_n(rdata, 6), &r), 0);
	tlsa_format(&text, &r);
	CHECK_STR(buf_str(&text), STR("3 1 1 616263"));
	CHECK_INT(tlsa_decode(str_n(rdata, 3), &r), -EBADMSG);
	CHECK_INT(tlsa_decode(STR(""), &r), -EBADMSG);
	buf_done(&text);
}

TEST(only_what_smtp_can_check_is_usable)
{
	static const struct {
		const char *name;
		struct tlsa r;
		bool is_usable;
	} cases[] = {
		{"EE, key, SHA-256", {3, 1, 1, {digest32, 32}}, true},
		{"EE, certificate, SHA-512", {3, 0, 2, {digest64, 64}}, true},
		{"TA, certificate, SHA-256", {2, 0, 1, {digest32, 32}}, true},
		{"TA, key, whole", {2, 1, 0, {key, sizeof(key) - 1}}, true},
		{"PKIX-TA", {0, 0, 1, {digest32, 32}}, false},
		{"PKIX-EE", {1, 1, 1, {digest32, 32}}, false},
		{"no usage of these", {4, 1, 1, {digest32, 32}}, false},
		{"a private usage", {255, 1, 1, {digest32, 32}}, false},
		{"unknown selector", {3, 2, 1, {digest32, 32}}, false},
		{"unknown matching type", {3, 1, 3, {digest32, 32}}, false},
		{"SHA-256 too short", {3, 1, 1, {digest32, 31}}, false},
		{"SHA-256 too long", {3, 1, 1, {digest64, 33}}, false},
		{"SHA-512 as long as SHA-256", {3, 1, 2, {digest32, 32}}, false},
		{"whole, no key", {3, 1, 0, {digest32, 32}}, false},
		{"whole, no certificate", {3, 0, 0, {key, sizeof(key) - 1}}, false},
		{"whole, with something behind", {3, 1, 0, {key, sizeof(key)}}, false},
	};
	struct tlsa_digests digests = digests_of("sha512 sha256");

	for (size_t i = 0; i < COUNT_OF(cases); i++)
		CHECK_CASE(!tlsa_unusable(&cases[i].r, &digests) == cases[i].is_usable, cases[i].name);
}

/* Records as "usage selector matching" with a digest of the right length; what is left likewise. */
TEST(the_strongest_digest_of_each_usage_and_selector_counts)
{
	static const struct {
		const char *digests;
		const char *records;
		const char *want;
	} cases[] = {
		{"sha512 sha256", "311 312", "312"},
		{"sha512 sha256", "312 311", "312"},
		{"sha256 sha512", "311 312", "311"},
		{"sha512 sha256", "311 311", "311 311"},
		{"sha512 sha256", "311 302", "311 302"},
		{"sha512 sha256", "311 212", "311 212"},
		{"sha512 sha256", "310 311 312", "310 312"},
		{"sha512 sha256", "311 312 301 202 201", "312 301 202"},
		{"sha256", "311 312", "311"},
		{"sha256", "312", ""},
		{"sha512 sha256", "011 112", ""},
		{"sha512 sha256", "012 311 112", "311"},
		{"sha512=2,sha256=1", "311 312 311", "312"},
		{"sha512 sha256", "311 311 312 312 311", "312 312"},
		{"sha384=9 sha512 sha256", "311 312", "312"},
		{"sha512 sha256", "", ""},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct tlsa_digests digests = digests_of(cases[i].digests);
		struct str rest = str_of(cases[i].records), item;
		struct tlsa records[8];
		struct buf got = BUF_INIT(1000);
		size_t count = 0, kept;

		while (str_next(&rest, " ", &item)) {
			struct tlsa *r = &records[count++];

			*r = (struct tlsa){
				(uint8_t)(item.ptr[0] - '0'), (uint8_t)(item.ptr[1] - '0'), (uint8_t)(item.ptr[2] - '0'), {0}};
			r->data = r->matching == 0   ? str_n(key, sizeof(key) - 1)
			          : r->matching == 1 ? str_n(digest32, 32)
			                             : str_n(digest64, 64);
		}
		kept = tlsa_select(records, count, &digests);
		for (size_t k = 0; k < kept; k++)
			buf_addf(&got, "%s%u%u%u", k ? " " : "", records[k].usage, records[k].selector, records[k].matching);
		CHECK_STR(buf_str(&got), str_of(cases[i].want));
		buf_done(&got);
	}
}

TEST(bad_lists_of_digests_are_refused_with_a_reason)
{
	static const char *const cases[][2] = {
		{"", "no digest is named: use sha512 and sha256"},
		{"sha1", "\"sha1\" is no registered matching type: use sha512 and sha256"},
		{"sha512=1", "\"sha512=1\": the number of the matching type is wrong"},
		{"sha384=256", "\"sha384=256\": the number of the matching type is wrong"},
		{"sha384=0", "\"sha384=0\": the number of the matching type is wrong"},
		{"sha256 sha256", "\"sha256\" is given twice"},
		{"sha256 sha384=1", "\"sha384=1\" is given twice"},
		{"nonsense=77", "\"nonsense=77\" is no digest that OpenSSL knows"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct tlsa_digests digests;
		struct buf why = BUF_INIT(1000);

		CHECK_INT(tlsa_digests_parse(str_of(cases[i][0]), &digests, &why), -EINVAL);
		CHECK_STR(buf_str(&why), str_of(cases[i][1]));
		buf_done(&why);
	}
}
