/* SPDX-License-Identifier: Apache-2.0 */
#include "table/ip_set.h"

#include <errno.h>

#include "base/base.h"
#include "base/random.h"
#include "check.h"

static int ask(const struct ip_set *s, const char *text)
{
	struct ip_key ip;

	CHECK_CASE(ip_key_parse(str_of(text), &ip), text);
	return ip_set_find(s, &ip);
}

static struct ip_set *set_of(const char *const *nets, size_t count)
{
	struct ip_set *s = ip_set_new();
	struct buf why = BUF_INIT(1024);

	for (size_t i = 0; i < count; i++) {
		struct ip_net n;

		CHECK_CASE(ip_net_parse(str_of(nets[i]), &n, &why) == 0, buf_cstr(&why));
		ip_set_add(s, &n, (int)i);
	}
	ip_set_build(s);
	buf_done(&why);
	return s;
}

TEST(the_first_network_that_holds_the_address_wins)
{
	const char *const nets[] = {"10.1.0.0/16", "10.0.0.0/8", "10.1.2.3", "0.0.0.0/0", "[2001:db8::]/32", "[2001:db8::1]"};
	struct ip_set *s = set_of(nets, COUNT_OF(nets));

	CHECK_INT(ask(s, "10.1.2.3"), 0);
	CHECK_INT(ask(s, "10.2.0.0"), 1);
	CHECK_INT(ask(s, "10.255.255.255"), 1);
	CHECK_INT(ask(s, "11.0.0.0"), 3);
	CHECK_INT(ask(s, "255.255.255.255"), 3);
	CHECK_INT(ask(s, "2001:db8::1"), 4);
	CHECK_INT(ask(s, "2001:db9::"), -1);
	CHECK_INT(ask(s, "::"), -1);
	CHECK_INT(ask(s, "::ffff:10.1.0.1"), 0);
	ip_set_free(s);
}

TEST(sets_agree_with_asking_every_network)
{
	struct ip_net nets[60];
	struct ip_set *s = ip_set_new();

	for (size_t i = 0; i < COUNT_OF(nets); i++) {
		unsigned prefix = 20 + random_below(13);

		nets[i] = (struct ip_net){.first.low = 0x0a000000u |
		                                       (random_below(1 << 13) & ~(prefix == 32 ? 0 : 0xffffffffu >> prefix)),
		                          .prefix = prefix};
		ip_set_add(s, &nets[i], (int)i);
	}
	ip_set_build(s);
	for (unsigned at = 0; at < 1 << 14; at++) {
		struct ip_key ip = {.low = 0x0a000000u - 16 + at};
		int want = -1;

		for (size_t i = COUNT_OF(nets); i-- > 0;)
			if (ip_net_has(&nets[i], &ip))
				want = (int)i;
		if (ip_set_find(s, &ip) != want) {
			CHECK_INT(ip_set_find(s, &ip), want);
			break;
		}
	}
	ip_set_free(s);
}

TEST(bad_networks_are_explained)
{
	static const struct {
		const char *net;
		const char *why;
	} cases[] = {
		{"10.0.0.1/8", "non-null host address bits in \"10.0.0.1/8\", perhaps you should use \"10.0.0.0/8\" instead"},
		{"[2001:db8::1]/32",
	         "non-null host address bits in \"[2001:db8::1]/32\", perhaps you should use \"2001:db8::/32\" instead"},
		{"1.2.3.300", "bad address pattern: \"1.2.3.300\""},
		{"10.0.0.0/33", "bad mask length in \"10.0.0.0/33\""},
		{"foo", "bad address pattern: \"foo\""},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct buf why = BUF_INIT(1024);
		struct ip_net n;

		CHECK_CASE(ip_net_parse(str_of(cases[i].net), &n, &why) == -EINVAL, cases[i].net);
		CHECK_STR(buf_str(&why), str_of(cases[i].why));
		buf_done(&why);
	}
}
