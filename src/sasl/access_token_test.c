/* SPDX-License-Identifier: Apache-2.0 */
/* What is a token and what is none. */
#include "sasl/access_token.h"

#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "check.h"
#include "fiber/fiber.h"

/* What an authorisation server says may come through a command unseen. */
static void parse_deep_json(void *arg)
{
	char text[4000] = "{\"access_token\":";
	size_t len = strlen(text);
	struct arena a = ARENA_INIT;
	struct str token;
	int64_t lifetime;

	memset(text + len, '[', 2000);
	*(int *)arg = access_token_parse(str_n(text, len + 2000), &a, &token, &lifetime);
	arena_done(&a);
}

TEST(json_without_end_of_depth_does_not_fill_a_fibers_stack)
{
	int err = 0;

	loop_init();
	fiber_start("parse", parse_deep_json, &err);
	loop_run();
	loop_done();
	CHECK_INT(err, -EINVAL);
}

TEST(a_token_is_a_line_or_a_part_of_json)
{
	static const struct {
		const char *text, *want;
		int64_t lifetime;
	} cases[] = {
		{"ya29.abc", "ya29.abc", -1},
		{"\n ya29.abc \r\nmore", "ya29.abc", -1},
		{"{\"access_token\": \"ya29\\/x\", \"expires_in\": 3599}", "ya29/x", 3599},
		{"{\"access_token\": \"ya29\", \"expires_in\": \"60\"}", "ya29", 60},
		{"{\"access_token\": \"ya29\", \"expires_in\": 0}", "ya29", 0},
		{"{\"access_token\": \"ya29\", \"expires_in\": -5}", "ya29", -1},
		{"{\"access_token\": \"ya29\", \"expires_in\": \"soon\"}", "ya29", -1},
		{"{\"access_token\": \"ya29\", \"expires_in\": 99999999999999999999}", NULL, 0},
		{"{\"refresh_token\": \"no\"}", NULL, 0},
		{"{\"access_token\": \"\"}", NULL, 0},
		{"{\"access_token\": \"two words\"}", NULL, 0},
		{"{\"access_token\": 7}", NULL, 0},
		{"{\"access_token\": \"cut", NULL, 0},
		{"{}", NULL, 0},
		{"cannot reach the server", NULL, 0},
		{"tok\001en", NULL, 0},
		{"", NULL, 0},
		{" \n ", NULL, 0},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct arena a = ARENA_INIT;
		struct str token = STR("?");
		int64_t lifetime = 0;
		int err = access_token_parse(str_of(cases[i].text), &a, &token, &lifetime);

		CHECK_INT(err, cases[i].want ? 0 : -EINVAL);
		if (!err) {
			CHECK_STR(token, str_of(cases[i].want));
			CHECK_INT(lifetime, cases[i].lifetime);
		}
		arena_done(&a);
	}
}

TEST(a_command_ends_with_the_login_name)
{
	static const struct {
		const char *command, *user, *want;
	} cases[] = {
		{"/bin/token", "joe@example.org", "/bin/token|joe@example.org|"},
		{" /bin/token  -v {two words}\t{} ", "joe", "/bin/token|-v|two words||joe|"},
		{"token", "joe", NULL},
		{"", "joe", NULL},
		{"/bin/token", "-rf", NULL},
		{"/bin/token", "", NULL},
		{"/bin/token", "joe\nann", NULL},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct buf arguments = BUF_INIT(100), why = BUF_INIT(200);
		int err = token_command_parse(str_of(cases[i].command), str_of(cases[i].user), &arguments, &why);

		CHECK_INT(err, cases[i].want ? 0 : -EINVAL);
		CHECK_INT(why.len > 0, !cases[i].want);
		for (size_t at = 0; at < arguments.len; at++)
			if (!arguments.ptr[at])
				arguments.ptr[at] = '|';
		if (!err)
			CHECK_STR(buf_str(&arguments), str_of(cases[i].want));
		buf_done(&arguments);
		buf_done(&why);
	}
}
