/* SPDX-License-Identifier: Apache-2.0 */
/* Files of trust anchors as people and validators write them. */
#include <errno.h>

#include "check.h"
#include "net/dns_internal.h"

static const struct {
	const char *name;
	const char *text;
	int err;
	const char *want;
} cases[] = {
	{"as dns-root-data has it", ". IN DNSKEY 257 3 8 AwEAAaz/ ; keytag 20326\n. IN DNSKEY 257 3 8 AwEAAa96 ; keytag 38696\n",
         0, ". IN DNSKEY 257 3 8 AwEAAaz/\n. IN DNSKEY 257 3 8 AwEAAa96\n"},
	{"a DS with TTL", "example.\t3600\tIN\tDS\t12345 13 2 ABCD", 0, "example.\t3600\tIN\tDS\t12345 13 2 ABCD\n"},
	{"over several lines", "; head\n. 172800 IN DNSKEY 257 3 8 (\r\n  AwEA ; half\n  Aaz/ )\n", 0,
         ". 172800 IN DNSKEY 257 3 8      AwEA    Aaz/\n"},
	{"kept by a validator",
         "; autotrust trust anchor file\n;;id: . 1\n. 86400 IN DNSKEY 257 3 8 AwOld ;{id = 1} ;;state=4 [ REVOKED ]\n"
         ". 86400 IN DNSKEY 257 3 8 AwNew ;{id = 2} ;;state=2 [  VALID  ]\n",
         0, ". 86400 IN DNSKEY 257 3 8 AwNew\n"},
	{"empty", "; nothing\n", -EINVAL, "it holds no DS or DNSKEY record"},
	{"something else", ". IN NS a.\n", -EINVAL, "line 1 is no DS or DNSKEY record"},
	{"no data", ". IN DS\n", -EINVAL, "line 1 is no DS or DNSKEY record"},
	{"an open parenthesis", ". IN DS 1 13 2 ( AB\n", -EINVAL, "line 1 is no DS or DNSKEY record"},
	{"only revoked", ". IN DNSKEY 385 3 8 Aw ;;state=4 [ REVOKED ]\n", -EINVAL, "it holds no DS or DNSKEY record"},
};

TEST(trust_anchors_are_read_from_every_kind_of_file)
{
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct buf got = BUF_INIT(1000), why = BUF_INIT(1000);

		CHECK_CASE(dns_anchors_parse(str_of(cases[i].text), &got, &why) == cases[i].err, cases[i].name);
		CHECK_STR(buf_str(cases[i].err ? &why : &got), str_of(cases[i].want));
		buf_done(&got);
		buf_done(&why);
	}
}
