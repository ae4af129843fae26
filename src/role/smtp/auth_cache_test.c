/* SPDX-License-Identifier: Apache-2.0 */
/* Refused logins. */
#include "role/smtp/auth_cache.h"

#include "check.h"

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
