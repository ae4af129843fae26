/* SPDX-License-Identifier: Apache-2.0 */
/* DNS records from their wire form (RFC 1035, 3.3 and 4.1), as the resolver hands them out: names are not compressed. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

#include "net/dns_internal.h"

enum { NAME_MAX_LEN = 255, LABEL_MAX_LEN = 63 };

/* What a host or mail domain name may hold; anything else in an answer is somebody's joke. */
static bool is_name_byte(char c)
{
	return ascii_is_alnum(c) || c == '-' || c == '_' || c == '/' || c == '*' || c == '+';
}

int dns_wire_name(struct str *rest, struct arena *a, struct str *ret_name)
{
	char text[NAME_MAX_LEN + 1];
	size_t len = 0;

	for (;;) {
		size_t label = rest->len ? (unsigned char)rest->ptr[0] : LABEL_MAX_LEN + 1;

		if (label > LABEL_MAX_LEN || label + 1 > rest->len || len + label + 1 > NAME_MAX_LEN)
			return -EBADMSG;
		if (len && label)
			text[len++] = '.';
		for (size_t i = 0; i < label; i++) {
			if (!is_name_byte(rest->ptr[1 + i]))
				return -EBADMSG;
			text[len++] = ascii_lower(rest->ptr[1 + i]);
		}
		*rest = str_from(*rest, label + 1);
		if (!label)
			break;
	}
	*ret_name = arena_str(a, str_n(text, len));
	return 0;
}

static int wire_u16(struct str *rest, uint16_t *ret_value)
{
	if (rest->len < 2)
		return -EBADMSG;
	*ret_value = (uint16_t)((unsigned char)rest->ptr[0] << 8 | (unsigned char)rest->ptr[1]);
	*rest = str_from(*rest, 2);
	return 0;
}

/* Character strings, joined. */
static int wire_text(struct str rest, struct arena *a, struct str *ret_text)
{
	char *text = arena_alloc(a, rest.len + 1);
	size_t len = 0;

	while (rest.len) {
		size_t part = (unsigned char)rest.ptr[0];

		if (part + 1 > rest.len)
			return -EBADMSG;
		memcpy(text + len, rest.ptr + 1, part);
		len += part;
		rest = str_from(rest, part + 1);
	}
	*ret_text = str_n(text, len);
	return 0;
}

static int wire_data(struct str rdata, size_t want, struct arena *a, struct str *ret_data)
{
	if (want ? rdata.len != want : !rdata.len)
		return -EBADMSG;
	*ret_data = arena_str(a, rdata);
	return 0;
}

int dns_wire_record(struct str rdata, enum dns_type type, struct arena *a, struct dns_record *r)
{
	int err = 0;

	*r = (struct dns_record){.type = type, .name = STR("")};
	switch (type) {
	case DNS_A:
		return wire_data(rdata, 4, a, &r->data);
	case DNS_AAAA:
		return wire_data(rdata, 16, a, &r->data);
	case DNS_TLSA:
		return wire_data(rdata, 0, a, &r->data);
	case DNS_TXT:
		return wire_text(rdata, a, &r->data);
	case DNS_MX:
		err = wire_u16(&rdata, &r->preference);
		break;
	case DNS_SRV:
		if (wire_u16(&rdata, &r->preference) || wire_u16(&rdata, &r->weight) || wire_u16(&rdata, &r->port))
			err = -EBADMSG;
		break;
	case DNS_NS:
	case DNS_CNAME:
	case DNS_PTR:
		break;
	}
	if (!err)
		err = dns_wire_name(&rdata, a, &r->name);
	return err ? err : rdata.len ? -EBADMSG : 0;
}

const char *dns_type_name(enum dns_type type)
{
	switch (type) {
	case DNS_A:
		return "A";
	case DNS_NS:
		return "NS";
	case DNS_CNAME:
		return "CNAME";
	case DNS_PTR:
		return "PTR";
	case DNS_MX:
		return "MX";
	case DNS_TXT:
		return "TXT";
	case DNS_AAAA:
		return "AAAA";
	case DNS_SRV:
		return "SRV";
	case DNS_TLSA:
		return "TLSA";
	}
	return "?";
}

int dns_type_parse(struct str word, enum dns_type *ret_type)
{
	static const enum dns_type types[] = {DNS_A, DNS_NS, DNS_CNAME, DNS_PTR, DNS_MX, DNS_TXT, DNS_AAAA, DNS_SRV, DNS_TLSA};

	for (size_t i = 0; i < COUNT_OF(types); i++) {
		if (str_eq_nocase(word, str_of(dns_type_name(types[i])))) {
			*ret_type = types[i];
			return 0;
		}
	}
	return -EINVAL;
}

struct str dns_reverse_name(const struct sockaddr *address, struct arena *a)
{
	const unsigned char *b;
	char text[80];
	size_t len = 0;

	if (address->sa_family == AF_INET) {
		b = (const unsigned char *)&((const struct sockaddr_in *)address)->sin_addr;
		return arena_printf(a, "%u.%u.%u.%u.in-addr.arpa", b[3], b[2], b[1], b[0]);
	}
	if (address->sa_family != AF_INET6)
		return STR("");
	b = (const unsigned char *)&((const struct sockaddr_in6 *)address)->sin6_addr;
	for (int i = 15; i >= 0; i--)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%x.%x.", b[i] & 15U, b[i] >> 4U);
	return arena_printf(a, "%.*sip6.arpa", (int)len, text);
}
