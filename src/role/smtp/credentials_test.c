/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens and refused logins. */
#include "role/smtp/credentials.h"

#include <errno.h>

#include "base/base.h"
#include "check.h"
#include "role/smtp/auth_cache.h"

TEST(a_token_is_a_line_or_a_part_of_json)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"ya29.abc", "ya29.abc"},
		{"\n ya29.abc \r\nmore", "ya29.abc"},
		{"{\"access_token\": \"ya29\\/x\", \"expires_in\": 3599}", "ya29/x"},
		{"{\"refresh_token\": \"no\"}", NULL},
		{"{\"access_token\": \"\"}", NULL},
		{"{\"access_token\": 7}", NULL},
		{"{\"access_token\": \"cut", NULL},
		{"{}", NULL},
		{"", NULL},
		{" \n ", NULL},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct arena a = ARENA_INIT;
		struct str token = STR("?");
		int err = token_parse(str_of(cases[i].text), &a, &token);

		CHECK_INT(err, cases[i].want ? 0 : -EINVAL);
		if (!err)
			CHECK_STR(token, str_of(cases[i].want));
		arena_done(&a);
	}
}

TEST(a_refusal_holds_for_the_same_login_and_for_its_time)
{
	struct auth_attempt t = {.host = STR("mx.example"), .user = STR("joe"), .secret = STR("secret")};
	struct auth_attempt other = t, shifted = {.host = STR("mx.example"), .user = STR("joes"), .secret = STR("ecret")};

	other.secret = STR("Secret");
	CHECK_STR(auth_cache_find(&t), STR(""));
	auth_cache_add(&t, STR("535 no"), duration_s(100));
	auth_cache_add(&t, STR("535 5.7.8 no"), duration_s(100));
	CHECK_STR(auth_cache_find(&t), STR("535 5.7.8 no"));
	CHECK_STR(auth_cache_find(&other), STR(""));
	CHECK_STR(auth_cache_find(&shifted), STR(""));
	auth_cache_add(&t, STR("535 5.7.8 no"), (struct duration){0});
	CHECK_STR(auth_cache_find(&t), STR(""));
}
