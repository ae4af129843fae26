/* SPDX-License-Identifier: Apache-2.0 */
#include "base/encoding.h"

#include <errno.h>

#include "check.h"

TEST(base64_is_rfc_4648)
{
	static const struct {
		struct str plain, coded;
	} cases[] = {
		{STR(""), STR("")},        {STR("f"), STR("Zg==")},         {STR("fo"), STR("Zm8=")},
		{STR("foo"), STR("Zm9v")}, {STR("fooba"), STR("Zm9vYmE=")}, {STR("\0u\0p"), STR("AHUAcA==")},
	};
	struct buf b = BUF_INIT(100);

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		buf_reset(&b);
		base64_encode(&b, cases[i].plain);
		CHECK_STR(buf_str(&b), cases[i].coded);
		buf_reset(&b);
		CHECK_INT(base64_decode(&b, cases[i].coded), 0);
		CHECK_STR(buf_str(&b), cases[i].plain);
	}
	CHECK_INT(base64_decode(&b, STR("Zg=")), -EINVAL);
	CHECK_INT(base64_decode(&b, STR("Z===")), -EINVAL);
	CHECK_INT(base64_decode(&b, STR("Zg==Zg==")), -EINVAL);
	CHECK_INT(base64_decode(&b, STR("Z*==")), -EINVAL);
	buf_reset(&b);
	CHECK_INT(base64url_decode(&b, STR("-_8")), 0);
	CHECK_STR(buf_str(&b), STR("\xfb\xff"));
	CHECK_INT(base64url_decode(&b, STR("-_8=")), -EINVAL);
	CHECK_INT(base64url_decode(&b, STR("+/8")), -EINVAL);
	CHECK_INT(base64url_decode(&b, STR("Z")), -EINVAL);
	buf_done(&b);
}

TEST(crc32c_has_the_published_check_value)
{
	CHECK(crc32c(0, "123456789", 9) == 0xe3069283);
	CHECK(crc32c(crc32c(0, "1234", 4), "56789", 5) == 0xe3069283);
}
