/* SPDX-License-Identifier: Apache-2.0 */
/* Domains that stand in two lists which exclude each other: the first one counts, and the operator should know. */
#include "route/router_internal.h"

/* A class of domains, and a list that its domains must not stand in. */
static const struct exclusion {
	enum address_class class;
	enum router_list other;
	struct route_conflict names;
} exclusions[] = {
	{CLASS_LOCAL, LIST_VIRTUAL_ALIAS, {"mydestination", "virtual_alias_domains"}},
	{CLASS_LOCAL, LIST_VIRTUAL_MAILBOX, {"mydestination", "virtual_mailbox_domains"}},
	{CLASS_VIRTUAL_ALIAS, LIST_VIRTUAL_MAILBOX, {"virtual_alias_domains", "virtual_mailbox_domains"}},
	{CLASS_VIRTUAL_ALIAS, LIST_RELAY, {"virtual_alias_domains", "relay_domains"}},
	{CLASS_VIRTUAL_MAILBOX, LIST_RELAY, {"virtual_mailbox_domains", "relay_domains"}},
};

size_t router_conflicts(struct router *r, struct str domain, enum address_class class,
                        struct route_conflict ret_conflicts[static 2])
{
	struct buf ignored = BUF_INIT(1000);
	size_t count = 0;

	for (size_t i = 0; i < COUNT_OF(exclusions); i++)
		if (exclusions[i].class == class && match_list_check(r->lists[exclusions[i].other], domain, &ignored) > 0)
			ret_conflicts[count++] = exclusions[i].names;
	buf_done(&ignored);
	return count;
}
