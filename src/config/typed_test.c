/* SPDX-License-Identifier: Apache-2.0 */
/* From text to typed values. */
#include "config/typed.h"

#include <errno.h>

#include "check.h"

TEST(times_have_units_and_a_unit_of_their_own)
{
	static const struct {
		const char *text;
		char unit;
		int64_t want; /* -1: refused */
	} cases[] = {
		{"5", 's', 5},     {"5", 'd', 432000}, {"5s", 'd', 5},      {"2m", 's', 120},
		{"1h", 's', 3600}, {"1d", 's', 86400}, {"1w", 's', 604800}, {"1H", 's', 3600},
		{"0", 's', 0},     {"", 's', -1},      {"s", 's', -1},      {"5x", 's', -1},
		{"-5s", 's', -1},  {"5 s", 's', -1},   {"1.5h", 's', -1},   {"99999999999999w", 's', -1},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		int64_t seconds = -1;
		int err = typed_time(str_of(cases[i].text), cases[i].unit, &seconds);

		CHECK_CASE((err == 0) == (cases[i].want >= 0), cases[i].text);
		CHECK_CASE(seconds == cases[i].want, cases[i].text);
	}
}

TEST(booleans_are_yes_and_no_in_any_case)
{
	bool value = false;

	CHECK(typed_bool(STR("Yes"), &value) == 0 && value);
	CHECK(typed_bool(STR("NO"), &value) == 0 && !value);
	CHECK_INT(typed_bool(STR("true"), &value), -EINVAL);
	CHECK_INT(typed_bool(STR(""), &value), -EINVAL);
}

/* Stores a value and gives the error; what is wrong goes into `why`. */
static int store(const char *name, const char *text, struct buf *why)
{
	struct params *p = mem_alloc(sizeof(*p));
	int err = typed_store(p, param_find(str_of(name)), str_of(text), why);

	free(p);
	return err;
}

TEST(what_is_wrong_says_what_to_write)
{
	static const struct {
		const char *name, *text, *why;
	} cases[] = {
		{"soft_bounce", "maybe", "write yes or no"},
		{"smtpd_recipient_limit", "0", "the least it may be is 1"},
		{"smtpd_recipient_limit", "many", "write a whole number in digits"},
		{"smtpd_recipient_limit", "5 # five", "write a whole number in digits"},
		{"smtpd_recipient_limit", "99999999999999999999", "the number is too large"},
		{"in_flow_delay", "11s", "the most it may be is 10 seconds"},
		{"smtpd_timeout", "soon", "write a number and a unit"},
		{"smtpd_tls_security_level", "strong", "write one of none, may, encrypt"},
		{"queue_directory", "", "it may not be empty"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct buf why = BUF_INIT(1000);

		CHECK_CASE(store(cases[i].name, cases[i].text, &why) < 0, cases[i].name);
		CHECK_CASE(str_find_str(buf_str(&why), str_of(cases[i].why)) < why.len, buf_cstr(&why));
		buf_done(&why);
	}
}

TEST(an_empty_choice_is_no_choice)
{
	struct buf why = BUF_INIT(1000);

	CHECK_INT(store("smtpd_tls_security_level", "", &why), 0);
	CHECK_INT(store("smtpd_tls_security_level", "Encrypt", &why), 0);
	buf_done(&why);
}
