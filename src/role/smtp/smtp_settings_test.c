/* SPDX-License-Identifier: Apache-2.0 */
#include "role/smtp/smtp_settings.h"

#include <stdio.h>

#include "check.h"
#include "config/config.h"
#include "role/smtp/requiretls.h"

static enum requiretls demand_of(const char *domain)
{
	const struct smtp_settings *s = smtp_settings_find(STR("smtp"));
	struct buf why = BUF_INIT(1000);
	struct arena a = ARENA_INIT;
	enum requiretls demand = REQUIRETLS_ENFORCE;

	CHECK_INT(requiretls_policy_find(s->requiretls, str_of(domain), &a, &demand, &why), 0);
	arena_done(&a);
	buf_done(&why);
	return demand;
}

TEST(the_tables_of_smtp_requiretls_policy_are_read_anew_when_they_change)
{
	struct buf why = BUF_INIT(1000), main_cf = BUF_INIT(1000);
	struct config *c;

	buf_addf(&main_cf, "smtp_requiretls_policy = texthash:%s/policy, opportunistic+starttls\n", check_folder());
	check_write_file("main.cf", buf_cstr(&main_cf));
	check_write_file("master.cf", "smtp unix - - n - - smtp\n");
	check_write_file("policy", "a.example enforce\n");
	c = config_load(str_of(check_folder()), NULL, 0);
	CHECK_INT(smtp_settings_load(c, &why), 0);
	CHECK_INT(demand_of("a.example"), REQUIRETLS_ENFORCE);
	CHECK_INT(demand_of("b.example"), REQUIRETLS_STARTTLS);
	check_write_file("policy", "b.example opportunistic\n");
	CHECK_INT(demand_of("a.example"), REQUIRETLS_STARTTLS);
	CHECK_INT(demand_of("b.example"), REQUIRETLS_OPPORTUNISTIC);
	smtp_settings_free();
	config_free(c);
	buf_done(&main_cf);
	buf_done(&why);
}
