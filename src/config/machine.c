/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's name and networks. */
#include "config/machine.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <unistd.h>

#include "base/buf.h"

enum { ADDRESS_MAX = 1000 };

static unsigned count_bits(const uint8_t *bytes, size_t len)
{
	unsigned bits = 0;

	for (size_t i = 0; i < len; i++)
		bits += (unsigned)__builtin_popcount(bytes[i]);
	return bits;
}

/* False for what is no internet address. */
static bool from_interface(const struct ifaddrs *i, struct machine_address *ret)
{
	*ret = (struct machine_address){0};
	if (!i->ifa_addr || !(i->ifa_flags & IFF_UP))
		return false;
	if (i->ifa_addr->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)i->ifa_addr, *mask = (const void *)i->ifa_netmask;

		memcpy(ret->bytes, &in->sin_addr, 4);
		ret->prefix = mask ? (uint8_t)count_bits((const void *)&mask->sin_addr, 4) : 32;
		return true;
	}
	if (i->ifa_addr->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in = (const void *)i->ifa_addr, *mask = (const void *)i->ifa_netmask;

		memcpy(ret->bytes, &in->sin6_addr, 16);
		ret->prefix = mask ? (uint8_t)count_bits((const void *)&mask->sin6_addr, 16) : 128;
		ret->is_v6 = true;
		return true;
	}
	return false;
}

void machine_read(struct machine *m, struct arena *a)
{
	char name[HOST_NAME_MAX + 1] = "";
	struct ifaddrs *all = NULL;

	*m = (struct machine){0};
	if (gethostname(name, sizeof(name) - 1) == 0)
		m->hostname = arena_str(a, str_of(name));
	if (getifaddrs(&all) < 0)
		return;
	m->addresses = arena_alloc(a, ADDRESS_MAX * sizeof(*m->addresses));
	for (const struct ifaddrs *i = all; i && m->address_count < ADDRESS_MAX; i = i->ifa_next)
		if (from_interface(i, &m->addresses[m->address_count]))
			m->address_count++;
	freeifaddrs(all);
}

static unsigned class_prefix(uint8_t first)
{
	return first < 128 ? 8 : first < 192 ? 16 : first < 224 ? 24 : 4;
}

static void add_network(struct buf *to, struct machine_address net, struct str style)
{
	const unsigned size = net.is_v6 ? 128 : 32;
	unsigned prefix = net.prefix;
	char text[INET6_ADDRSTRLEN];

	if (str_eq(style, STR("host")))
		prefix = size;
	else if (str_eq(style, STR("class")) && !net.is_v6)
		prefix = class_prefix(net.bytes[0]);
	for (unsigned bit = prefix; bit < size; bit++)
		net.bytes[bit / 8] &= (uint8_t)~(0x80U >> bit % 8);
	inet_ntop(net.is_v6 ? AF_INET6 : AF_INET, net.bytes, text, sizeof(text));
	buf_addf(to, net.is_v6 ? "[%s]/%u" : "%s/%u", text, prefix);
}

/* Is this word in the blank-separated list already? */
static bool is_listed(struct str list, struct str word)
{
	struct str each;

	while (str_next(&list, " ", &each))
		if (str_eq(each, word))
			return true;
	return false;
}

struct str machine_networks(const struct machine *m, struct str style, bool has_v4, bool has_v6, struct arena *a)
{
	struct buf list = BUF_INIT(1 << 20), one = BUF_INIT(100);

	for (int v6 = 0; v6 <= 1; v6++)
		for (size_t i = 0; i < m->address_count; i++) {
			if (m->addresses[i].is_v6 != v6 || !(v6 ? has_v6 : has_v4))
				continue;
			buf_reset(&one);
			add_network(&one, m->addresses[i], style);
			if (is_listed(buf_str(&list), buf_str(&one)))
				continue;
			if (list.len > 0)
				buf_add_char(&list, ' ');
			buf_add(&list, buf_str(&one));
		}
	struct str result = arena_str(a, buf_str(&list));
	buf_done(&list);
	buf_done(&one);
	return result;
}
