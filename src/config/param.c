/* SPDX-License-Identifier: Apache-2.0 */
/* Looking up parameters by name. */
#include "config/param.h"

#include "base/base.h"

enum { SUGGEST_NAME_MAX = 80 };

const struct param *param_find(struct str name)
{
	size_t low = 0, high = param_count;

	while (low < high) {
		size_t mid = (low + high) / 2;
		int order = str_cmp(name, param_table[mid].name);

		if (order == 0)
			return &param_table[mid];
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

const struct param *param_find_family(struct str name, struct str *ret_transport)
{
	const struct str prefix = STR("transport");
	const struct param *best = NULL;

	for (size_t i = 0; i < param_count; i++) {
		const struct param *p = &param_table[i];

		if (!(p->flags & PARAM_FAMILY))
			continue;
		struct str suffix = str_from(p->name, prefix.len);
		if (name.len > suffix.len && str_ends(name, suffix) && (!best || p->name.len > best->name.len)) {
			*ret_transport = str_cut(name, 0, name.len - suffix.len);
			best = p;
		}
	}
	return best;
}

bool param_has_field(const struct param *p)
{
	return !(p->flags & (PARAM_LEGACY | PARAM_FAMILY));
}

/* How many letters must be added, removed or changed to make one of the other (Levenshtein). */
static size_t distance(struct str a, struct str b)
{
	unsigned char row[SUGGEST_NAME_MAX + 1];

	for (size_t j = 0; j <= b.len; j++)
		row[j] = (unsigned char)j;
	for (size_t i = 1; i <= a.len; i++) {
		unsigned char diagonal = row[0];

		row[0] = (unsigned char)i;
		for (size_t j = 1; j <= b.len; j++) {
			unsigned char above = row[j];
			size_t best = size_min(above, row[j - 1]) + 1;

			row[j] = (unsigned char)size_min(best, diagonal + (size_t)(a.ptr[i - 1] != b.ptr[j - 1]));
			diagonal = above;
		}
	}
	return row[b.len];
}

const struct param *param_suggest(struct str name)
{
	const struct param *best = NULL;
	size_t best_distance = 1 + size_min(name.len / 4, 3);

	if (name.len > SUGGEST_NAME_MAX)
		return NULL;
	for (size_t i = 0; i < param_count; i++) {
		const struct param *p = &param_table[i];

		if ((p->flags & (PARAM_LEGACY | PARAM_FAMILY)) || p->name.len > SUGGEST_NAME_MAX)
			continue;
		if (size_max(name.len, p->name.len) - size_min(name.len, p->name.len) >= best_distance)
			continue;
		size_t d = distance(name, p->name);
		if (d < best_distance) {
			best_distance = d;
			best = p;
		}
	}
	return best;
}
