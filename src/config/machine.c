/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's name and networks. */
#include "config/machine.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <limits.h>
#include <netdb.h>
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
		net.bytes[bit / 8] &= (uint8_t) ~(0x80U >> bit % 8);
	inet_ntop(net.is_v6 ? AF_INET6 : AF_INET, net.bytes, text, sizeof(text));
	buf_addf(to, net.is_v6 ? "[%s]/%u" : "%s/%u", text, prefix);
}

static bool is_loopback(const struct machine_address *address)
{
	static const uint8_t v6[16] = {[15] = 1};

	return address->is_v6 ? memcmp(address->bytes, v6, 16) == 0 : address->bytes[0] == 127;
}

static bool is_same(const struct machine_address *a, const struct machine_address *b)
{
	return a->is_v6 == b->is_v6 && memcmp(a->bytes, b->bytes, a->is_v6 ? 16 : 4) == 0;
}

/* "192.0.2.1", "::1" or "[::1]". */
static bool parse_address(struct str text, struct machine_address *ret)
{
	char space[INET6_ADDRSTRLEN + 1];

	*ret = (struct machine_address){0};
	if (text.len > 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']')
		text = str_cut(text, 1, text.len - 2);
	if (text.len >= sizeof(space))
		return false;
	memcpy(space, text.ptr, text.len);
	space[text.len] = '\0';
	if (inet_pton(AF_INET, space, ret->bytes) == 1)
		return true;
	ret->is_v6 = true;
	return inet_pton(AF_INET6, space, ret->bytes) == 1;
}

void machine_resolve(struct machine *m, struct str name, struct arena *a)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all = NULL;
	struct machine_address literal;
	size_t count = 0;

	for (size_t i = 0; i < m->name_count; i++)
		if (str_eq(m->names[i].name, name))
			return;
	if (parse_address(name, &literal) || getaddrinfo(arena_cstr(a, name), NULL, &hints, &all) != 0)
		return;
	for (const struct addrinfo *i = all; i; i = i->ai_next)
		count++;
	struct machine_name *names = arena_alloc(a, (m->name_count + count) * sizeof(*names));
	if (m->name_count > 0)
		memcpy(names, m->names, m->name_count * sizeof(*names));
	m->names = names;
	for (const struct addrinfo *i = all; i; i = i->ai_next) {
		const struct ifaddrs as_interface = {.ifa_addr = i->ai_addr, .ifa_flags = IFF_UP};
		struct machine_name *to = &m->names[m->name_count];

		to->name = arena_str(a, name);
		if (from_interface(&as_interface, &to->address))
			m->name_count++;
	}
	freeaddrinfo(all);
}

/* Does one word of inet_interfaces mean this address? */
static bool word_means(const struct machine *m, struct str word, const struct machine_address *address)
{
	struct machine_address literal;

	if (str_eq_nocase(word, STR("all")))
		return true;
	if (str_eq_nocase(word, STR("loopback-only")))
		return is_loopback(address);
	if (parse_address(word, &literal))
		return is_same(&literal, address);
	for (size_t i = 0; i < m->name_count; i++)
		if (str_eq(m->names[i].name, word) && is_same(&m->names[i].address, address))
			return true;
	return false;
}

static bool is_wanted(const struct machine *m, const struct machine_wish *wish, const struct machine_address *address)
{
	struct str rest = wish->interfaces, word;

	if (address->is_v6 ? !wish->has_v6 : !wish->has_v4)
		return false;
	while (str_next(&rest, ", \t\r\n", &word))
		if (word_means(m, word, address))
			return true;
	return false;
}

struct str machine_networks(const struct machine *m, const struct machine_wish *wish, struct arena *a)
{
	struct buf list = BUF_INIT(1 << 20), one = BUF_INIT(100);

	for (int v6 = 0; v6 <= 1; v6++)
		for (size_t i = 0; i < m->address_count; i++) {
			if (m->addresses[i].is_v6 != v6 || !is_wanted(m, wish, &m->addresses[i]))
				continue;
			buf_reset(&one);
			add_network(&one, m->addresses[i], wish->style);
			if (str_list_has_exactly(buf_str(&list), buf_str(&one)))
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
