/* SPDX-License-Identifier: Apache-2.0 */
/* The default of mynetworks from given addresses. */
#include "config/machine.h"

#include "check.h"

static struct machine_address addresses[] = {
	{.bytes = {127, 0, 0, 1}, .prefix = 8},
	{.bytes = {192, 0, 2, 77}, .prefix = 25},
	{.bytes = {192, 0, 2, 78}, .prefix = 25},
	{.bytes = {[15] = 1}, .prefix = 128, .is_v6 = true},
	{.bytes = {0xfd, [15] = 2}, .prefix = 64, .is_v6 = true},
};

TEST(networks_follow_style_protocols_and_interfaces)
{
	static const struct {
		const char *style, *interfaces;
		bool has_v4, has_v6;
		const char *want;
	} cases[] = {
		{"subnet", "all", true, true, "127.0.0.0/8 192.0.2.0/25 [::1]/128 [fd00::]/64"},
		{"host", "all", true, true, "127.0.0.1/32 192.0.2.77/32 192.0.2.78/32 [::1]/128 [fd00::2]/128"},
		{"class", "all", true, false, "127.0.0.0/8 192.0.2.0/24"},
		{"subnet", "loopback-only", true, true, "127.0.0.0/8 [::1]/128"},
		{"host", "127.0.0.1, [fd00::2]", true, true, "127.0.0.1/32 [fd00::2]/128"},
		{"host", "192.0.2.78,", true, true, "192.0.2.78/32"},
		{"host", "mail", true, true, "192.0.2.77/32"},
		{"host", "unknown", true, true, ""},
	};
	struct machine_name name = {STR("mail"), {.bytes = {192, 0, 2, 77}, .prefix = 32}};
	const struct machine m = {STR("host"), addresses, COUNT_OF(addresses), &name, 1};
	struct arena arena = ARENA_INIT;

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const struct machine_wish wish = {str_of(cases[i].style), str_of(cases[i].interfaces), cases[i].has_v4,
		                                  cases[i].has_v6};

		CHECK_STR(machine_networks(&m, &wish, &arena), str_of(cases[i].want));
	}
	arena_done(&arena);
}

TEST(the_loopback_name_is_resolved_once)
{
	struct machine m = {0};
	struct arena arena = ARENA_INIT;

	machine_resolve(&m, STR("localhost"), &arena);
	CHECK(m.name_count > 0);
	size_t count = m.name_count;
	machine_resolve(&m, STR("localhost"), &arena);
	machine_resolve(&m, STR("127.0.0.1"), &arena);
	CHECK_INT(m.name_count, count);
	arena_done(&arena);
}
