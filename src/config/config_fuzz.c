/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as main.cf and master.cf (apart at the first NUL) are read without harm, and
 * their snapshot gives the same bytes again.
 */
#include <stdint.h>

#include "config/config_internal.h"
#include "config/main_cf.h"
#include "config/master_cf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_true)
{
	if (!is_true)
		die("a snapshot does not give the same configuration");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config *c = mem_alloc(sizeof(*c)), *copy = NULL;
	struct str all = str_n((const char *)data, size);
	size_t end = str_find(all, '\0');
	struct buf one = BUF_INIT(1 << 26), two = BUF_INIT(1 << 26);

	c->dir = STR("/etc");
	c->machine.hostname = STR("host");
	main_cf_parse(c, STR("main.cf"), str_cut(all, 0, end));
	master_cf_parse(c, STR("master.cf"), str_from(all, end + 1));
	config_note_names(c);
	config_compile(c);
	config_compile_services(c);
	config_check(c, true);
	config_snapshot(c, &one);
	must(config_from_snapshot(buf_str(&one), &copy) == 0);
	config_snapshot(copy, &two);
	must(str_eq(buf_str(&one), buf_str(&two)));
	config_free(copy);
	config_free(c);
	buf_done(&one);
	buf_done(&two);
	return 0;
}
