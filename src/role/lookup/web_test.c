/* SPDX-License-Identifier: Apache-2.0 */
#include "role/lookup/web.h"

#include <errno.h>

#include "check.h"

/* What a stranger's DNS record may name. To libcurl's list of addresses these say something, and are refused before anybody is
 * asked. */
TEST(names_that_mean_something_to_libcurl_are_no_hosts)
{
	static const char *const names[] = {"",
	                                    "-web.example",
	                                    "*",
	                                    "@web.example",
	                                    "+web.example",
	                                    ".web.example",
	                                    "_web.example",
	                                    "web.example:1",
	                                    "web.example,other.example",
	                                    "web example",
	                                    "web.example\r\nX: y",
	                                    "user@web.example",
	                                    "[::1]",
	                                    "web.example/x",
	                                    "web.example?x",
	                                    "web.example#x",
	                                    "we\"b"};

	for (size_t i = 0; i < COUNT_OF(names); i++) {
		struct web_wish wish = {
			.host = str_of(names[i]), .port = 443, .path = STR("/"), .protocols = STR("ipv4"), .size_max = 1000};
		struct web_answer answer;
		struct arena a = ARENA_INIT;
		struct buf why = BUF_INIT(1000);

		CHECK_CASE(web_request(&wish, &a, &answer, &why) == -EINVAL, names[i]);
		CHECK_CASE(str_ends(buf_str(&why), STR("is no host name")), names[i]);
		buf_done(&why);
		arena_done(&a);
	}
}
