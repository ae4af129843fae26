/* SPDX-License-Identifier: Apache-2.0 */
/* Socket addresses as values and as text. */
#include "net/ip.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>

int ip_from_bytes(struct str bytes, uint16_t port, struct sockaddr_storage *ret_address)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret_address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret_address;

	memset(ret_address, 0, sizeof(*ret_address));
	if (bytes.len == sizeof(v4->sin_addr)) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		memcpy(&v4->sin_addr, bytes.ptr, bytes.len);
	} else if (bytes.len == sizeof(v6->sin6_addr)) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		memcpy(&v6->sin6_addr, bytes.ptr, bytes.len);
		ip_unmap(ret_address);
	} else {
		return -EINVAL;
	}
	return 0;
}

int ip_parse(struct str text, uint16_t port, struct sockaddr_storage *ret_address)
{
	char copy[IP_TEXT_SIZE];
	unsigned char bytes[16];

	if (text.len >= sizeof(copy) || str_has(text, '\0'))
		return -EINVAL;
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	if (inet_pton(AF_INET, copy, bytes) == 1)
		return ip_from_bytes(str_n((char *)bytes, 4), port, ret_address);
	if (inet_pton(AF_INET6, copy, bytes) == 1)
		return ip_from_bytes(str_n((char *)bytes, 16), port, ret_address);
	return -EINVAL;
}

void ip_unmap(struct sockaddr_storage *a)
{
	struct sockaddr_in6 v6;
	struct sockaddr_in v4 = {.sin_family = AF_INET};

	if (a->ss_family != AF_INET6)
		return;
	memcpy(&v6, a, sizeof(v6));
	if (!IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr))
		return;
	v4.sin_port = v6.sin6_port;
	memcpy(&v4.sin_addr, &v6.sin6_addr.s6_addr[12], 4);
	memset(a, 0, sizeof(*a));
	memcpy(a, &v4, sizeof(v4));
}

struct str ip_bytes(const struct sockaddr *a)
{
	if (a->sa_family == AF_INET)
		return str_n((const char *)&((const struct sockaddr_in *)a)->sin_addr, 4);
	if (a->sa_family == AF_INET6)
		return str_n((const char *)&((const struct sockaddr_in6 *)a)->sin6_addr, 16);
	return str_n("", 0);
}

const char *ip_format(const struct sockaddr *a, char text[static IP_TEXT_SIZE])
{
	struct str bytes = ip_bytes(a);

	if (!bytes.len || !inet_ntop(a->sa_family, bytes.ptr, text, IP_TEXT_SIZE))
		snprintf(text, IP_TEXT_SIZE, "%s", "unknown");
	return text;
}

uint16_t ip_port(const struct sockaddr *a)
{
	if (a->sa_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)a)->sin_port);
	if (a->sa_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)a)->sin6_port);
	return 0;
}

socklen_t ip_size(const struct sockaddr *a)
{
	switch (a->sa_family) {
	case AF_INET:
		return sizeof(struct sockaddr_in);
	case AF_INET6:
		return sizeof(struct sockaddr_in6);
	default:
		return sizeof(struct sockaddr_un);
	}
}

bool ip_is_same_host(const struct sockaddr *a, const struct sockaddr *b)
{
	return a->sa_family == b->sa_family && ip_bytes(a).len && str_eq(ip_bytes(a), ip_bytes(b));
}

/* Mail's own names, as known_tcp_ports has them: a small system has no /etc/services. */
static bool find_mail_port(struct str name, uint16_t *ret_port)
{
	static const struct {
		const char *name;
		uint16_t port;
	} known[] = {{"smtp", 25}, {"submission", 587}, {"submissions", 465}, {"smtps", 465}, {"lmtp", 24}};

	for (size_t i = 0; i < COUNT_OF(known); i++) {
		if (str_eq(name, str_of(known[i].name))) {
			*ret_port = known[i].port;
			return true;
		}
	}
	return false;
}

int ip_parse_port(struct str text, uint16_t *ret_port)
{
	unsigned long long number;
	struct servent *entry = NULL;
	char name[32];

	if (!str_parse_u64(text, &number) && number <= 65535) {
		*ret_port = (uint16_t)number;
		return 0;
	}
	if (find_mail_port(text, ret_port))
		return 0;
	if (text.len && text.len < sizeof(name)) {
		memcpy(name, text.ptr, text.len);
		name[text.len] = '\0';
		entry = getservbyname(name, "tcp");
	}
	if (!entry)
		return -ENOENT;
	*ret_port = ntohs((uint16_t)entry->s_port);
	return 0;
}
