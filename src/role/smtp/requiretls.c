/* SPDX-License-Identifier: Apache-2.0 */
/* smtp_requiretls_policy. */
#include "role/smtp/requiretls.h"

#include <errno.h>

#include "table/table.h"

/* A word, or a table of words. */
struct element {
	struct table *table; /* NULL: a word */
	enum requiretls word;
};

struct requiretls_policy {
	struct element *elements;
	size_t count;
	size_t users; /* lookups under way */
	bool is_closed;
};

static int parse_word(struct str word, enum requiretls *ret_demand, struct buf *why)
{
	static const char *const words[] = {"opportunistic", "opportunistic+starttls", "enforce"};

	for (size_t i = 0; i < COUNT_OF(words); i++) {
		if (str_eq_nocase(word, str_of(words[i]))) {
			*ret_demand = (enum requiretls)i;
			return 0;
		}
	}
	buf_addf(why, "smtp_requiretls_policy: \"%.*s\" is none of enforce, opportunistic+starttls, opportunistic",
	         STR_ARG(word));
	return -EINVAL;
}

int requiretls_policy_open(struct str text, unsigned flags, const struct view *view, struct requiretls_policy **ret_policy,
                           struct buf *why)
{
	struct requiretls_policy *p = mem_alloc(sizeof(*p));
	struct str item;
	int err = 0;

	while (!err && str_next_braced(&text, " \t\r\n,", &item)) {
		struct element e = {0};

		if (str_has(item, ':'))
			err = table_open(item, flags, view, &e.table, why);
		else
			err = parse_word(item, &e.word, why);
		if (err)
			break;
		p->elements = mem_resize(p->elements, (p->count + 1) * sizeof(*p->elements));
		p->elements[p->count++] = e;
	}
	if (!err)
		*ret_policy = p;
	else
		requiretls_policy_close(p);
	return err;
}

void requiretls_policy_close(struct requiretls_policy *p)
{
	if (!p)
		return;
	/* The last lookup that waits in a table closes it. */
	p->is_closed = true;
	if (p->users)
		return;
	for (size_t i = 0; i < p->count; i++)
		table_close(p->elements[i].table);
	free(p->elements);
	free(p);
}

bool requiretls_policy_has_changed(const struct requiretls_policy *p)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->elements[i].table && table_has_changed(p->elements[i].table))
			return true;
	return false;
}

/* The domain, then its parents with a dot before them where the table takes parts of keys. */
static int find_word(struct table *t, struct str domain, struct arena *a, struct str *ret_word, struct buf *why)
{
	int err = table_find(t, domain, a, ret_word, why);

	while (err == -ENOENT && table_is_fixed_key(t)) {
		size_t dot = str_find(str_from(domain, 1), '.');

		if (!domain.len || dot + 1 >= domain.len)
			break;
		domain = str_from(domain, dot + 1);
		err = table_find(t, domain, a, ret_word, why);
	}
	return err;
}

static int find(const struct requiretls_policy *p, struct str domain, struct arena *a, enum requiretls *ret_demand,
                struct buf *why)
{
	for (size_t i = 0; i < p->count; i++) {
		const struct element *e = &p->elements[i];
		struct str word;
		int err;

		if (!e->table) {
			*ret_demand = e->word;
			return 0;
		}
		err = find_word(e->table, domain, a, &word, why);
		if (!err)
			return parse_word(str_trim(word), ret_demand, why);
		if (err != -ENOENT)
			return err;
	}
	*ret_demand = REQUIRETLS_ENFORCE;
	return 0;
}

int requiretls_policy_find(struct requiretls_policy *p, struct str domain, struct arena *a, enum requiretls *ret_demand,
                           struct buf *why)
{
	int err;

	p->users++;
	err = find(p, domain, a, ret_demand, why);
	if (--p->users == 0 && p->is_closed)
		requiretls_policy_close(p);
	return err;
}
