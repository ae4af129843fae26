/* SPDX-License-Identifier: Apache-2.0 */
#include "net/ip.h"

#include <errno.h>

#include "check.h"

TEST(addresses_go_to_text_and_back)
{
	static const char texts[][40] = {"192.0.2.1", "2001:db8::1", "::1", "0.0.0.0", "fe80::1234:5678:9abc:def0"};

	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		struct sockaddr_storage a;
		char text[IP_TEXT_SIZE];

		CHECK_CASE(!ip_parse(str_of(texts[i]), 25, &a), texts[i]);
		CHECK_STR(str_of(ip_format((struct sockaddr *)&a, text)), str_of(texts[i]));
		CHECK_INT(ip_port((struct sockaddr *)&a), 25);
	}
}

TEST(ipv4_inside_ipv6_becomes_ipv4)
{
	struct sockaddr_storage a, b;
	char text[IP_TEXT_SIZE];

	CHECK_INT(ip_parse(STR("::ffff:192.0.2.7"), 25, &a), 0);
	CHECK_STR(str_of(ip_format((struct sockaddr *)&a, text)), STR("192.0.2.7"));
	CHECK_INT(ip_parse(STR("192.0.2.7"), 587, &b), 0);
	CHECK(ip_is_same_host((struct sockaddr *)&a, (struct sockaddr *)&b));
}

TEST(anything_else_is_no_address)
{
	static const char texts[][40] = {"", "localhost", "1.2.3", "1.2.3.4.5", "[::1]", "::g", "1.2.3.4 ", "fe80::1%eth0"};
	struct sockaddr_storage a;

	for (size_t i = 0; i < COUNT_OF(texts); i++)
		CHECK_CASE(ip_parse(str_of(texts[i]), 25, &a) == -EINVAL, texts[i]);
}

TEST(ports_are_numbers_or_names)
{
	uint16_t port;

	CHECK_INT(ip_parse_port(STR("10025"), &port), 0);
	CHECK_INT(port, 10025);
	CHECK_INT(ip_parse_port(STR("smtp"), &port), 0);
	CHECK_INT(port, 25);
	CHECK_INT(ip_parse_port(STR("lmtp"), &port), 0); /* not in /etc/services */
	CHECK_INT(port, 24);
	CHECK_INT(ip_parse_port(STR("65536"), &port), -ENOENT);
	CHECK_INT(ip_parse_port(STR(""), &port), -ENOENT);
	CHECK_INT(ip_parse_port(STR("no-such-service"), &port), -ENOENT);
}
