/* SPDX-License-Identifier: Apache-2.0 */
/* The syntax of host names and address literals, as restrictions judge it. */
#include "policy/host_name.h"

#include "net/ip.h"

enum { NAME_MAX_SIZE = 255, LABEL_MAX_SIZE = 63 };

static bool label_is_valid(struct str label)
{
	if (label.len == 0 || label.len > LABEL_MAX_SIZE || label.ptr[0] == '-' || label.ptr[label.len - 1] == '-')
		return false;
	for (size_t i = 0; i < label.len; i++)
		if (!ascii_is_alnum(label.ptr[i]) && label.ptr[i] != '_' && label.ptr[i] != '-')
			return false;
	return true;
}

bool host_name_is_valid(struct str name)
{
	bool is_numeric = true;
	struct str rest = name;

	if (name.len == 0 || name.len > NAME_MAX_SIZE)
		return false;
	for (size_t i = 0; i < name.len; i++)
		if (!ascii_is_digit(name.ptr[i]) && name.ptr[i] != '.')
			is_numeric = false;
	while (!is_numeric) {
		size_t dot = str_find(rest, '.');

		if (!label_is_valid(str_cut(rest, 0, dot)))
			return false;
		if (dot == rest.len)
			return true;
		rest = str_from(rest, dot + 1);
	}
	return false;
}

static bool parses_as(int family, struct str text)
{
	struct sockaddr_storage address;

	return ip_parse(text, 0, &address) == 0 && (address.ss_family == family || family == AF_UNSPEC);
}

bool host_address_is_valid(struct str text)
{
	return parses_as(AF_UNSPEC, text);
}

bool host_literal_is_valid(struct str text)
{
	struct str inner;

	if (text.len < 3 || text.ptr[0] != '[' || text.ptr[text.len - 1] != ']')
		return false;
	inner = str_cut(text, 1, text.len - 2);
	if (str_starts_nocase(inner, STR("IPv6:")))
		return str_has(inner, ':') && parses_as(AF_UNSPEC, str_from(inner, 5));
	return parses_as(AF_INET, inner);
}

struct str host_address_format(struct arena *a, struct str bytes)
{
	struct sockaddr_storage address;
	char text[IP_TEXT_SIZE];

	if (ip_from_bytes(bytes, 0, &address))
		return STR("");
	return arena_str(a, str_of(ip_format((struct sockaddr *)&address, text)));
}
