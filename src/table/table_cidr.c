/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cidr: networks and what they mean; the first that holds the address wins. Without
 * negation and if, which are rare, the rules are compiled to one sorted set.
 */
#include <errno.h>

#include "table/ip_set.h"
#include "table/rules.h"

struct cidr_table {
	struct table table;
	struct rule_set rules;
	struct ip_set *set; /* NULL: walk the rules */
};

static bool cidr_parse(void *type_arg, struct rule_set *set, struct rule *r, struct str text, struct buf *why)
{
	struct ip_net *net;
	size_t end;

	while (text.len > 0 && text.ptr[0] == '!') {
		r->is_negated = !r->is_negated;
		text = str_trim(str_from(text, 1));
	}
	end = str_find_any(text, " \t\r\v\f");
	net = arena_alloc(&set->arena, sizeof(*net));
	if (ip_net_parse(str_cut(text, 0, end), net, why) != 0)
		return false;
	r->pattern = net;
	r->value = arena_str(&set->arena, str_trim(str_from(text, end)));
	if (r->kind == RULE_MATCH && r->value.len == 0) {
		buf_addf(why, "no result text after \"%.*s\"", STR_ARG(str_cut(text, 0, end)));
		return false;
	}
	return true;
}

static bool is_plain(const struct rule_set *rules)
{
	for (size_t i = 0; i < rules->count; i++)
		if (rules->rules[i].kind != RULE_MATCH || rules->rules[i].is_negated)
			return false;
	return true;
}

static void cidr_close(struct table *t)
{
	struct cidr_table *ct = (struct cidr_table *)t;

	ip_set_free(ct->set);
	rules_done(&ct->rules);
}

static int cidr_open(const struct table_type *type, struct str name, unsigned flags, const struct view *view,
                     struct table **ret_table, struct buf *why)
{
	struct cidr_table *ct = mem_alloc(sizeof(*ct));
	int err;

	ct->rules.parse = cidr_parse;
	ct->rules.type_arg = ct;
	err = rules_read(&ct->rules, type, name, &ct->table.file, why);
	if (err) {
		cidr_close(&ct->table);
		file_stamp_done(&ct->table.file);
		free(ct);
		return err;
	}
	if (is_plain(&ct->rules)) {
		ct->set = ip_set_new();
		for (size_t i = 0; i < ct->rules.count; i++)
			ip_set_add(ct->set, ct->rules.rules[i].pattern, (int)i);
		ip_set_build(ct->set);
	}
	*ret_table = &ct->table;
	return 0;
}

/* A negated rule still asks for the family: !10.0.0.0/8 says nothing of IPv6. */
static int cidr_match(void *arg, const struct rule *r)
{
	const struct ip_net *net = r->pattern;
	const struct ip_key *ip = arg;

	return net->first.is_v6 == ip->is_v6 && ip_net_has(net, ip) != r->is_negated;
}

static int cidr_find(struct table *t, struct str key, struct arena *a, struct str *ret_value, struct buf *why)
{
	struct cidr_table *ct = (struct cidr_table *)t;
	const struct rule *r;
	size_t at = 0;
	struct ip_key ip;

	if (!ip_key_parse(key, &ip))
		return -ENOENT;
	if (ct->set) {
		int index = ip_set_find(ct->set, &ip);

		if (index < 0)
			return -ENOENT;
		r = &ct->rules.rules[index];
	} else if (rules_match(&ct->rules, &at, cidr_match, &ip, &r) != 1) {
		return -ENOENT;
	}
	*ret_value = arena_str(a, r->value);
	return 0;
}

const struct table_type table_cidr = {"cidr", false, cidr_open, cidr_find, NULL, cidr_close};
