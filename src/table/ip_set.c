/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Networks to ranges. Two networks are either nested or apart. Sorted by their first
 * address, larger ones before the smaller ones inside them, one pass with a stack of the
 * networks that are open at the present address gives the points where the answer changes.
 */
#include "table/ip_set.h"

#include <arpa/inet.h>
#include <errno.h>

#include "base/base.h"

enum { DEPTH_MAX = 130 };

struct member {
	struct ip_key first;
	struct ip_key last;
	int value;
};

/* From `from` on the answer is `value`, until the next point. */
struct point {
	struct ip_key from;
	int value;
};

struct ip_set {
	struct member *members;
	size_t member_count, member_size;
	struct point *points;
	size_t point_count;
};

bool ip_key_parse(struct str text, struct ip_key *ret_ip)
{
	char name[INET6_ADDRSTRLEN + 1];
	unsigned char bytes[16];
	uint64_t half[2] = {0, 0};

	if (text.len == 0 || text.len >= sizeof(name))
		return false;
	memcpy(name, text.ptr, text.len);
	name[text.len] = '\0';
	if (!str_has(text, ':')) {
		if (inet_pton(AF_INET, name, bytes) != 1)
			return false;
		*ret_ip = (struct ip_key){.low = (uint64_t)bytes[0] << 24 | (uint64_t)bytes[1] << 16 | (uint64_t)bytes[2] << 8 |
		                                 bytes[3]};
		return true;
	}
	if (inet_pton(AF_INET6, name, bytes) != 1)
		return false;
	for (size_t i = 0; i < 16; i++)
		half[i / 8] = half[i / 8] << 8 | bytes[i];
	if (half[0] == 0 && half[1] >> 32 == 0xffff)
		*ret_ip = (struct ip_key){.low = half[1] & 0xffffffffu};
	else
		*ret_ip = (struct ip_key){half[0], half[1], true};
	return true;
}

static int ip_key_cmp(const struct ip_key *a, const struct ip_key *b)
{
	if (a->is_v6 != b->is_v6)
		return a->is_v6 ? 1 : -1;
	if (a->high != b->high)
		return a->high < b->high ? -1 : 1;
	return a->low < b->low ? -1 : a->low > b->low;
}

/* The host bits of a prefix, as ones. */
static struct ip_key host_bits(const struct ip_net *n)
{
	struct ip_key mask = {.is_v6 = n->first.is_v6};

	if (!mask.is_v6) {
		mask.low = n->prefix >= 32 ? 0 : 0xffffffffu >> n->prefix;
		return mask;
	}
	mask.high = n->prefix >= 64 ? 0 : ~(uint64_t)0 >> n->prefix;
	mask.low = n->prefix >= 128 ? 0 : n->prefix <= 64 ? ~(uint64_t)0 : ~(uint64_t)0 >> (n->prefix - 64);
	return mask;
}

static struct ip_key last_of(const struct ip_net *n)
{
	struct ip_key bits = host_bits(n);

	return (struct ip_key){n->first.high | bits.high, n->first.low | bits.low, n->first.is_v6};
}

static void say_host_bits(struct str text, const struct ip_net *n, struct buf *why)
{
	struct ip_key bits = host_bits(n);
	uint64_t high = n->first.high & ~bits.high, low = n->first.low & ~bits.low;
	unsigned char bytes[16];
	char name[INET6_ADDRSTRLEN];

	for (size_t i = 0; i < 8; i++) {
		bytes[i] = (unsigned char)(high >> (56 - 8 * i));
		bytes[8 + i] = (unsigned char)(low >> (56 - 8 * i));
	}
	inet_ntop(n->first.is_v6 ? AF_INET6 : AF_INET, n->first.is_v6 ? bytes : bytes + 12, name, sizeof(name));
	buf_addf(why, "non-null host address bits in \"%.*s\", perhaps you should use \"%s/%u\" instead", STR_ARG(text), name,
	         n->prefix);
}

/* The address without the brackets, and the text behind "/". False if the brackets do not pair. */
static bool split_net(struct str text, struct str *ret_address, struct str *ret_prefix)
{
	struct str rest = text;

	*ret_prefix = (struct str){NULL, 0};
	if (text.len > 0 && text.ptr[0] == '[') {
		size_t end = str_find(text, ']');

		if (end == text.len)
			return false;
		*ret_address = str_cut(text, 1, end - 1);
		rest = str_from(text, end + 1);
		if (rest.len > 0 && rest.ptr[0] != '/')
			return false;
		if (rest.len > 0)
			*ret_prefix = str_from(rest, 1);
		/* "[2001:db8::/32]" is written as well. */
		if (rest.len == 0)
			(void)str_split(*ret_address, '/', ret_address, ret_prefix);
		return true;
	}
	if (!str_split(text, '/', ret_address, ret_prefix))
		*ret_address = text;
	return true;
}

int ip_net_parse(struct str text, struct ip_net *ret_net, struct buf *why)
{
	struct str address, prefix;
	unsigned long long number;
	struct ip_net n;
	struct ip_key bits;
	unsigned most;

	if (!split_net(text, &address, &prefix) || !ip_key_parse(address, &n.first)) {
		buf_addf(why, "bad address pattern: \"%.*s\"", STR_ARG(text));
		return -EINVAL;
	}
	most = n.first.is_v6 ? 128 : 32;
	n.prefix = most;
	if (prefix.ptr) {
		bool was_mapped = !n.first.is_v6 && str_has(address, ':');

		if (str_parse_u64(prefix, &number) != 0 || number > (was_mapped ? 128 : most) || (was_mapped && number < 96)) {
			buf_addf(why, "bad mask length in \"%.*s\"", STR_ARG(text));
			return -EINVAL;
		}
		n.prefix = (unsigned)number - (was_mapped ? 96 : 0);
	}
	bits = host_bits(&n);
	if ((n.first.high & bits.high) || (n.first.low & bits.low)) {
		say_host_bits(text, &n, why);
		return -EINVAL;
	}
	*ret_net = n;
	return 0;
}

bool ip_net_has(const struct ip_net *n, const struct ip_key *ip)
{
	struct ip_key last = last_of(n);

	return n->first.is_v6 == ip->is_v6 && ip_key_cmp(&n->first, ip) <= 0 && ip_key_cmp(ip, &last) <= 0;
}

struct ip_set *ip_set_new(void)
{
	return mem_alloc(sizeof(struct ip_set));
}

void ip_set_free(struct ip_set *s)
{
	if (!s)
		return;
	free(s->members);
	free(s->points);
	free(s);
}

void ip_set_add(struct ip_set *s, const struct ip_net *n, int value)
{
	if (s->member_count == s->member_size) {
		s->member_size = size_max(16, 2 * s->member_size);
		s->members = mem_resize(s->members, s->member_size * sizeof(*s->members));
	}
	s->members[s->member_count++] = (struct member){n->first, last_of(n), value};
}

static int compare_members(const void *left, const void *right)
{
	const struct member *a = left, *b = right;
	int order = ip_key_cmp(&a->first, &b->first);

	if (order == 0)
		order = ip_key_cmp(&b->last, &a->last);
	return order ? order : (a->value > b->value) - (a->value < b->value);
}

static void add_point(struct ip_set *s, struct ip_key from, int value)
{
	if (s->point_count > 0 && ip_key_cmp(&s->points[s->point_count - 1].from, &from) == 0)
		s->point_count--;
	s->points[s->point_count++] = (struct point){from, value};
}

/* The address behind `ip`; false at the end of the family. */
static bool ip_next(struct ip_key *ip)
{
	uint64_t most = ip->is_v6 ? ~(uint64_t)0 : 0xffffffffu;

	if (ip->low < most) {
		ip->low++;
		return true;
	}
	if (!ip->is_v6 || ip->high == ~(uint64_t)0)
		return false;
	ip->low = 0;
	ip->high++;
	return true;
}

/* Ends the topmost open network: behind it the one below answers. */
static void close_top(struct ip_set *s, const struct member *stack, size_t *depth)
{
	struct ip_key behind = stack[--*depth].last;

	if (ip_next(&behind))
		add_point(s, behind, *depth > 0 ? stack[*depth - 1].value : -1);
	else if (!behind.is_v6)
		add_point(s, (struct ip_key){.is_v6 = true}, -1);
}

void ip_set_build(struct ip_set *s)
{
	struct member *stack;
	size_t depth = 0;

	if (s->member_count == 0)
		return;
	stack = mem_alloc(DEPTH_MAX * sizeof(*stack));
	qsort(s->members, s->member_count, sizeof(*s->members), compare_members);
	s->points = mem_alloc((2 * s->member_count + 1) * sizeof(*s->points));
	for (size_t i = 0; i < s->member_count; i++) {
		struct member *m = &s->members[i];

		while (depth > 0 && ip_key_cmp(&stack[depth - 1].last, &m->first) < 0)
			close_top(s, stack, &depth);
		/* The same network again: sorted behind the smaller value, it never wins. */
		if (depth > 0 && ip_key_cmp(&stack[depth - 1].first, &m->first) == 0 &&
		    ip_key_cmp(&stack[depth - 1].last, &m->last) == 0)
			continue;
		if (depth > 0 && stack[depth - 1].value < m->value)
			m->value = stack[depth - 1].value;
		stack[depth++] = *m;
		add_point(s, m->first, m->value);
	}
	while (depth > 0)
		close_top(s, stack, &depth);
	free(stack);
	free(s->members);
	s->members = NULL;
	s->member_count = s->member_size = 0;
}

int ip_set_find(const struct ip_set *s, const struct ip_key *ip)
{
	size_t low = 0, high = s->point_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ip_key_cmp(&s->points[middle].from, ip) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low == 0 ? -1 : s->points[low - 1].value;
}
