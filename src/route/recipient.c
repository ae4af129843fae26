/* SPDX-License-Identifier: Apache-2.0 */
/* Does a recipient exist? Each class has its table; whatever rewrites an address also vouches for it. */
#include <errno.h>

#include "route/router_internal.h"

static int ask(struct router *r, struct maps *m, struct str address, struct arena *a, struct buf *why)
{
	struct address_match match;
	int err = router_find_address(r, m, address, a, &match, why);

	return err == -ENOENT ? 0 : err ? err : 1;
}

int router_recipient_exists(struct router *r, const struct route *route, struct arena *a, const char **ret_table, struct buf *why)
{
	static const enum router_map rewriting[] = {MAP_RECIPIENT_CANONICAL, MAP_CANONICAL, MAP_RELOCATED, MAP_VIRTUAL_ALIAS};
	enum router_map own = MAP_VIRTUAL_ALIAS;

	*ret_table = "virtual alias table";
	switch (route->class) {
	case CLASS_DEFAULT:
		return 1;
	case CLASS_LOCAL:
		own = MAP_LOCAL_RECIPIENT;
		*ret_table = "local recipient table";
		break;
	case CLASS_VIRTUAL_MAILBOX:
		own = MAP_VIRTUAL_MAILBOX;
		*ret_table = "virtual mailbox table";
		break;
	case CLASS_RELAY:
		own = MAP_RELAY_RECIPIENT;
		*ret_table = "relay recipient table";
		break;
	case CLASS_VIRTUAL_ALIAS:
		break;
	}
	if (route->class != CLASS_VIRTUAL_ALIAS && maps_is_empty(r->maps[own]))
		return 1;
	for (size_t i = 0; i < COUNT_OF(rewriting); i++) {
		int result = ask(r, r->maps[rewriting[i]], route->recipient, a, why);

		if (result)
			return result;
	}
	return own == MAP_VIRTUAL_ALIAS ? 0 : ask(r, r->maps[own], route->recipient, a, why);
}
